"""The floor plan: which room may import which, one name for one thing, a test file for a module, names that resolve.

The plan in words is ``docs/architecture.md``; :data:`MAY_IMPORT` is the plan that is held.
"""

from __future__ import annotations

import ast
import fnmatch
import importlib
import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MOST_LINES = 450
"""Of a module; longer ones are two."""

#: What everything above the heart may use: the version, and the smallest modules of the ground floor.
FLOOR = frozenset(
    {
        '',
        'checksums',
        'environment',
        'errors',
        'frame',
        'messages',
        'outcome',
        'streams',
        'stripped',
        'tables',
        'validation',
    }
)
#: For each room what it may import besides itself. A room is a module or package right below ``bidsreg``; a dotted name
#: is a part of a room with a rule of its own: as a source it replaces the room's rule, as a target it is not covered
#: by the room's name. Imports inside functions and for type checkers count as any others.
MAY_IMPORT: Mapping[str, frozenset[str]] = {
    '': frozenset(),
    'checksums': frozenset({'errors'}),
    'environment': frozenset(),
    'errors': frozenset(),
    'frame': frozenset(),
    'messages': frozenset(),
    'outcome': frozenset({'errors'}),
    'streams': frozenset(),
    'stripped': frozenset(),
    'tables': frozenset({'errors'}),
    'validation': frozenset({'errors'}),
    'registration': frozenset(),
    'registration.atomic': frozenset(),
    'registration.integrity': frozenset(),
    'execution': FLOOR,
    'execution.crashes': FLOOR,
    'settings': FLOOR | {'execution', 'registration.atomic'},
    'bids': FLOOR | {'settings', 'registration.atomic', 'registration.integrity'},
    'bids.publish': FLOOR | {'settings', 'registration.atomic'},
    'bids.locks': FLOOR | {'settings'},
    'programs': FLOOR | {'registration', 'registration.atomic'},
    'preparation': FLOOR | {'execution', 'bids', 'registration'},
    'templates': FLOOR | {'preparation', 'bids', 'registration', 'registration.atomic'},
    'qc': FLOOR | {'bids', 'registration'},
    'reports': FLOOR
    | {'settings', 'execution.crashes', 'qc', 'programs', 'bids', 'registration', 'registration.atomic'},
    'interfaces': FLOOR | {'preparation', 'programs', 'qc', 'reports', 'bids', 'bids.publish', 'registration'},
    'workflows': FLOOR | {'settings', 'execution', 'interfaces', 'qc', 'reports', 'programs', 'bids', 'templates'},
    'pair': FLOOR | {'execution', 'programs', 'bids', 'registration', 'registration.atomic'},
    'apply': FLOOR | {'execution', 'bids', 'registration', 'registration.atomic'},
    'translation': FLOOR
    | {'settings', 'execution', 'preparation', 'bids', 'bids.locks', 'registration', 'registration.atomic'},
    'benchmark': FLOOR
    | {'settings', 'execution', 'execution.crashes', 'workflows', 'interfaces', 'preparation', 'programs'}
    | {'bids', 'bids.locks', 'registration', 'registration.atomic', 'translation'},
    'app': FLOOR
    | {'settings', 'execution', 'execution.crashes', 'workflows', 'qc', 'reports', 'programs', 'templates'}
    | {'bids', 'bids.publish', 'bids.locks', 'registration', 'registration.atomic'},
    # it describes the app's command line for Boutiques, and so stands above it.
    'app.boutiques': FLOOR | {'cli', 'reports', 'programs', 'bids', 'registration'},
    'cli': FLOOR | {'settings', 'execution', 'app', 'programs', 'bids', 'registration'},
    '__main__': FLOOR | {'cli'},
}
ABOVE = frozenset({'app.boutiques'})
HEART_LIBRARIES = frozenset({'torch', 'torchdiffeq', 'numpy', 'scipy', 'nibabel', 'h5py', 'numba'})

#: Tests that stand for no single module: of documents, of the whole, in a browser, in a container, on a GPU, of what
#: all batch systems say, of millimetres on any grid.
OF_NO_MODULE = frozenset(
    {
        'tests/app/test_hostile_settings.py',
        'tests/app/test_lesions.py',
        'tests/app/test_mp2rage.py',
        'tests/app/test_orientations.py',
        'tests/app/test_places.py',
        'tests/bids/test_modalities.py',
        'tests/bids/test_skeletons.py',
        'tests/execution/batch/test_ends.py',
        'tests/experiments/test_readme.py',
        'tests/registration/test_gpu_memory.py',
        'tests/reports/test_hostile_files.py',
        'tests/registration/test_units.py',
        'tests/test_architecture.py',
        'tests/test_docs.py',
        'tests/test_examples.py',
        'tests/test_package.py',
        'tests/test_real.py',
    }
)
OF_NO_MODULE_FOLDERS = frozenset({'browser', 'container'})
#: Modules without tests of their own: there is nothing in them but words.
WORDS_ALONE = frozenset({'bidsreg/errors.py'})


# ---------------------------------------------------------------------------------------------------- reading the code
def modules_of(*places: tuple[Path, str]) -> dict[str, Path]:
    """Dotted names and files of the modules below folders, each with the name that the folder is imported by."""
    found = {}
    for folder, name in places:
        for file in sorted(folder.rglob('*.py')):
            words = [name, *file.relative_to(folder).with_suffix('').parts]
            found['.'.join(words[:-1] if words[-1] == '__init__' else words)] = file
    return found


def imports_of(module: str, file: Path, known: Mapping[str, Path]) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything a module imports, wherever in it; relative names made absolute.

    ``from package import name`` is the module ``package.name`` where `known` has one, else ``package``.
    """
    package = module if file.name == '__init__.py' else module.rpartition('.')[0]
    for node in ast.walk(ast.parse(file.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split('.')[: len(package.split('.')) - node.level + 1] if node.level else []
            source = '.'.join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f'{source}.{alias.name}'
                yield node.lineno, inner if inner in known else source
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith('import_module') and node.args:
            name = node.args[0]
            if isinstance(name, ast.Constant) and isinstance(name.value, str) and not name.value.startswith('.'):
                yield node.lineno, name.value


def room_of(module: str, package: str, rooms: Mapping[str, frozenset[str]]) -> str:
    """Return the room of a module: the longest name in `rooms` that it is or lies in, else its first word."""
    words = module.removeprefix(package).lstrip('.').split('.')
    for count in range(len(words), 0, -1):
        if (name := '.'.join(words[:count])) in rooms:
            return name
    return words[0]


def wrong_arrows(known: Mapping[str, Path], package: str, rooms: Mapping[str, frozenset[str]]) -> list[str]:
    """A line for each import between rooms that the plan does not have, and for each room it does not know."""
    found = []
    for module, file in known.items():
        here = room_of(module, package, rooms)
        if here not in rooms:
            found.append(f'{module}: the plan has no room {here!r}')
            continue
        for line, target in imports_of(module, file, known):
            if target.split('.')[0] != package:
                continue
            there = room_of(target, package, rooms)
            same = here.split('.')[0] == there.split('.')[0]
            if not same and there not in rooms[here]:
                found.append(f'{module}:{line}: {here or package} may not import {target}')
    return list(dict.fromkeys(found))


def idle_arrows(known: Mapping[str, Path], package: str, rooms: Mapping[str, frozenset[str]]) -> list[str]:
    """A line for each arrow of the plan, but those to the ground floor, along which nothing is imported."""
    used = {
        (room_of(module, package, rooms), room_of(target, package, rooms))
        for module, file in known.items()
        for _, target in imports_of(module, file, known)
        if target.split('.')[0] == package
    }
    return [
        f'{here} imports nothing of {there}'
        for here, targets in rooms.items()
        for there in sorted(targets - FLOOR)
        if (here, there) not in used
    ]


def drawing_order(rooms: Mapping[str, frozenset[str]]) -> list[str]:
    """Return the rooms from the bottom to the top; :data:`ABOVE` are drawn as rooms, other parts as their rooms.

    Raises
    ------
    CycleError
        If the plan has a circle.
    """
    drawn: dict[str, set[str]] = defaultdict(set)
    for room, targets in rooms.items():
        node = room if room in ABOVE else room.split('.')[0]
        drawn[node] |= {target.split('.')[0] for target in targets} - {node}
    return list(TopologicalSorter(drawn).static_order())


MODULES = modules_of((ROOT / 'bidsreg', 'bidsreg'), (ROOT / 'workflows', 'bidsreg.workflows'))


# ---------------------------------------------------------------------------------------------------- arrows
def test_arrows_run_one_way():
    found = wrong_arrows(MODULES, 'bidsreg', MAY_IMPORT)
    assert not found, '\n'.join(found)


def test_every_arrow_is_used():
    found = idle_arrows(MODULES, 'bidsreg', MAY_IMPORT)
    assert not found, '\n'.join(found)


def test_the_plan_has_no_circle_and_no_room_that_is_not():
    names = {name.removeprefix('bidsreg').lstrip('.') for name in MODULES}
    assert {room for room in MAY_IMPORT if room not in names} == set()
    drawing_order(MAY_IMPORT)


def test_the_heart_imports_a_few_libraries():
    allowed = HEART_LIBRARIES | sys.stdlib_module_names | {'bidsreg'}
    assert [
        f'{module}:{line}: {target}'
        for module, file in MODULES.items()
        if module.startswith('bidsreg.registration')
        for line, target in imports_of(module, file, MODULES)
        if target.split('.')[0] not in allowed
    ] == []


@pytest.fixture
def pretended(tmp_path):
    """A package of three rooms, of which each may import the ones below it, and a function that writes a module."""
    folder = tmp_path / 'house'

    def write(name: str, code: str) -> None:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        for place in (folder, file.parent):
            (place / '__init__.py').touch()
        file.write_text(code)

    write('roof/tiles.py', 'import os\nfrom house.cellar import wine\nfrom house import floor\n')
    write('floor/bed.py', 'from ..cellar.wine import RED\nfrom . import table\nimport house.floor.table\n')
    write('floor/table.py', 'from house import __doc__\n')
    write('cellar/wine.py', 'RED = "house.roof"  # no import\n')
    write('cellar/safe.py', '')
    return folder, write


PRETENDED_ROOMS = {
    '': frozenset(),
    'roof': frozenset({'floor', 'cellar'}),
    'floor': frozenset({'', 'cellar'}),
    'cellar': frozenset(),
    'cellar.safe': frozenset(),
}


def arrows_in(folder: Path) -> list[str]:
    return wrong_arrows(modules_of((folder, 'house')), 'house', PRETENDED_ROOMS)


def test_arrows_of_the_plan_are_no_error(pretended):
    assert arrows_in(pretended[0]) == []


@pytest.mark.parametrize(
    'code',
    [
        'import house.roof.tiles',
        'import house.roof as above',
        'from house.roof.tiles import NAME',
        'from house.roof import tiles',
        'from house import roof',
        'from .. import roof',
        'from ..roof import tiles',
        'from ..roof.tiles import NAME',
        'def late():\n    from house.roof import tiles',
        'class A:\n    def late(self):\n        import house.roof.tiles',
        'if TYPE_CHECKING:\n    from house.roof.tiles import NAME',
        'try:\n    import os\nexcept ImportError:\n    from house import roof',
        "importlib.import_module('house.roof.tiles')",
    ],
)
def test_an_arrow_that_turns_is_found(pretended, code):
    folder, write = pretended
    write('floor/bed.py', code + '\n')
    (found,) = arrows_in(folder)
    assert re.fullmatch(r'house\.floor\.bed:\d: floor may not import house\.roof(\.tiles)?', found)


def test_an_arrow_that_nothing_uses_is_found(pretended):
    folder, write = pretended
    assert idle_arrows(modules_of((folder, 'house')), 'house', PRETENDED_ROOMS) == []
    write('roof/tiles.py', 'from house import floor\n')
    found = idle_arrows(modules_of((folder, 'house')), 'house', PRETENDED_ROOMS)
    assert found == ['roof imports nothing of cellar']


def test_a_relative_import_in_a_package_file_starts_at_that_package(pretended):
    folder, write = pretended
    write('floor/__init__.py', 'from .bed import *\nfrom ..roof import tiles\n')
    assert arrows_in(folder) == ['house.floor:2: floor may not import house.roof.tiles']


def test_part_of_a_room_has_a_rule_of_its_own(pretended):
    folder, write = pretended
    write('floor/bed.py', 'from house.cellar.wine import RED\nfrom house.cellar import safe\n')
    assert arrows_in(folder) == ['house.floor.bed:2: floor may not import house.cellar.safe']
    write('cellar/safe.py', 'from house.cellar import wine\n')
    assert len(arrows_in(folder)) == 1


def test_a_room_that_the_plan_does_not_have_is_found(pretended):
    folder, write = pretended
    write('attic/box.py', '')
    assert arrows_in(folder) == [f"{name}: the plan has no room 'attic'" for name in ('house.attic', 'house.attic.box')]


def test_a_circle_in_a_plan_is_found():
    assert drawing_order(PRETENDED_ROOMS)[-1] == 'roof'
    with pytest.raises(CycleError):
        drawing_order({**PRETENDED_ROOMS, 'cellar.safe': frozenset({'roof'})})


# ---------------------------------------------------------------------------------------------------- names
def public_classes(known: Mapping[str, Path]) -> dict[str, list[str]]:
    """Modules by the names of the public classes that they define."""
    found = defaultdict(list)
    for module, file in known.items():
        for node in ast.parse(file.read_text(encoding='utf-8')).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith('_'):
                found[node.name].append(module)
    return found


def test_no_two_public_classes_share_a_name():
    shared = [f'{name}: {", ".join(homes)}' for name, homes in public_classes(MODULES).items() if len(homes) > 1]
    assert not shared, '\n'.join(shared)


def test_a_shared_class_name_is_found(tmp_path):
    for name, code in {'a': 'class Case: ...', 'b': 'class Case: ...\nclass _Own: ...', 'c': 'class _Own: ...'}.items():
        (tmp_path / f'{name}.py').write_text(code)
    found = public_classes(modules_of((tmp_path, 'house')))
    assert found == {'Case': ['house.a', 'house.b']}


# ---------------------------------------------------------------------------------------------------- dotted names
DOTTED = re.compile(r'(?<![\w/.-])bidsreg(?:\.[A-Za-z_]\w*)+')
ROLE = re.compile(r':(?:func|class|mod|data|meth|attr|exc|obj):`~?(bidsreg(?:\.\w+)+)`')
#: Files of images in docs/containers.md, which look like names.
NO_NAMES = frozenset({'bidsreg.sif', 'bidsreg.tar'})
PAGES = [
    *(ROOT / name for name in ('README.md', 'CONTRIBUTING.md', 'CHANGES.md')),
    *sorted((ROOT / 'docs').rglob('*.md')),
    *sorted((ROOT / 'examples').glob('*.py')),
]


def resolves(name: str) -> bool:
    """Tell whether a dotted name is a module, or something in one."""
    words = name.split('.')
    for count in range(len(words), 0, -1):
        try:
            found = importlib.import_module('.'.join(words[:count]))
        except ModuleNotFoundError:
            continue
        for word in words[count:]:
            if word in getattr(found, '__dataclass_fields__', ()):
                return True
            if not hasattr(found, word):
                return False
            found = getattr(found, word)
        return True
    return False


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_dotted_names_on_pages_resolve(page):
    names = set(DOTTED.findall(page.read_text(encoding='utf-8'))) - NO_NAMES
    assert {name for name in names if not resolves(name)} == set()


def test_dotted_names_in_docstrings_resolve():
    files = [*MODULES.values(), *sorted((ROOT / 'experiments').glob('*.py')), *sorted((ROOT / 'tests').rglob('*.py'))]
    names = {name: file for file in files for name in ROLE.findall(file.read_text(encoding='utf-8'))}
    assert {name: file.name for name, file in names.items() if not resolves(name)} == {}


def test_what_does_not_resolve_is_found():
    assert resolves('bidsreg.registration.Image')
    assert resolves('bidsreg.workflows')
    assert not resolves('bidsreg.registration.Imago')
    assert not resolves('bidsreg.nosuch.Image')
    assert DOTTED.findall('`bidsreg.cli.main`, docs/bidsreg.html, bidsreg.\n') == ['bidsreg.cli.main']


# ---------------------------------------------------------------------------------------------------- pyproject.toml
def test_every_package_and_file_is_listed():
    listed = tomllib.loads((ROOT / 'pyproject.toml').read_text(encoding='utf-8'))['tool']['setuptools']
    packages = {name: file.parent for name, file in MODULES.items() if file.name == '__init__.py'}
    assert sorted(listed['packages']) == sorted(packages)
    patterns = listed['package-data']
    unlisted = [
        str(file.relative_to(ROOT))
        for name, folder in packages.items()
        for file in sorted(folder.iterdir())
        if file.is_file() and file.suffix not in ('.py', '.pyc')
        if not any(fnmatch.fnmatch(file.name, pattern) for pattern in patterns.get(name, ()))
    ]
    assert unlisted == []
    idle = [
        f'{name}: {pattern}' for name in patterns for pattern in patterns[name] if not any(packages[name].glob(pattern))
    ]
    assert idle == []


# ---------------------------------------------------------------------------------------------------- tests, lengths
def module_of_test(test: Path) -> Path | None:
    """The file that a test file is named for; None where there is none.

    ``tests/a/test_b.py`` is for ``bidsreg/a/b.py``, ``tests/workflows`` and ``tests/experiments`` for the folders at
    the top, and a file named for its folder for the package itself.
    """
    below = test.relative_to(ROOT / 'tests').parent
    top = ROOT if below.parts[:1] in (('workflows',), ('experiments',)) else ROOT / 'bidsreg'
    name = test.stem.removeprefix('test_')
    candidates = [top / below / f'{name}.py', *([top / below / '__init__.py'] if name == below.name else [])]
    return next((file for file in candidates if file.is_file()), None)


def test_tests_mirror_the_package():
    orphans = [
        name
        for test in sorted((ROOT / 'tests').rglob('test_*.py'))
        if (name := test.relative_to(ROOT).as_posix()) not in OF_NO_MODULE
        if test.relative_to(ROOT).parts[1] not in OF_NO_MODULE_FOLDERS
        if module_of_test(test) is None
    ]
    assert not orphans, '\n'.join(orphans)
    assert [name for name in OF_NO_MODULE if not (ROOT / name).is_file()] == []


def file_of_tests(module: Path) -> Path:
    """Return where the tests of a module lie; those of graphs and of scripts have folders of their own."""
    below = module.relative_to(ROOT)
    folder = below.parent if below.parts[0] in ('workflows', 'experiments') else below.relative_to('bidsreg').parent
    return ROOT / 'tests' / folder / f'test_{module.name}'


def test_every_module_has_a_test_file():
    modules = [*MODULES.values(), *sorted((ROOT / 'experiments').glob('*.py'))]
    wanted = [file for file in modules if file.name not in ('__init__.py', '__main__.py')]
    missing = {file.relative_to(ROOT).as_posix() for file in wanted if not file_of_tests(file).is_file()}
    assert missing == WORDS_ALONE


def test_no_module_is_long():
    lengths = {module: len(file.read_text(encoding='utf-8').splitlines()) for module, file in MODULES.items()}
    long = [f'{module}: {lines}' for module, lines in lengths.items() if lines > MOST_LINES]
    assert not long, '\n'.join(long)


def constants_bound_twice(text: str) -> list[str]:
    """Return the constants that a module binds more than once at its top: the later value hides the earlier one."""
    names = [
        name.id
        for statement in ast.parse(text).body
        if isinstance(statement, ast.Assign | ast.AnnAssign)
        for target in (statement.targets if isinstance(statement, ast.Assign) else [statement.target])
        for name in ast.walk(target)
        if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store) and name.id.isupper()
    ]
    return sorted({name for name in names if names.count(name) > 1})


def test_no_constant_is_bound_twice():
    files = [*MODULES.values(), *sorted((ROOT / 'experiments').glob('*.py'))]
    found = {file.name: names for file in files if (names := constants_bound_twice(file.read_text(encoding='utf-8')))}
    assert found == {}


def test_a_constant_that_is_bound_twice_is_found():
    assert constants_bound_twice('BOX_MM, SHARE = 6.0, 0.7\nMM: float = 1\nWIDE, BOX_MM = 2, 15.0\n') == ['BOX_MM']
