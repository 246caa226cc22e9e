"""What the documentation says is there: its links, the options it names, and every block of code in it.

A fenced block holds commands when it names no language, else ``python``, ``toml``, ``json`` or ``text`` (nothing to
run). All are run here in one folder with small heads under the names that the pages use: snippets as they are, files
by the readers of the programs, and commands as :data:`PARSERS` and :data:`SHELL` say. What cannot be run stands in the
page below a line ``*Not run by the tests: WHY*``, for readers to see. Any other block is a failure.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import nibabel as nib
import numpy as np
import pytest
from ants.internal import get_lib_fn
from boutiques import bosh

from bidsreg.app import example
from bidsreg.apply import cli as apply_cli
from bidsreg.apply.kinds import KINDS
from bidsreg.benchmark.cli import build_parser as build_benchmark_parser
from bidsreg.cli import build_parser, main
from bidsreg.pair import cli as pair_cli
from bidsreg.pair.presetfile import from_toml
from bidsreg.programs import PROGRAMS, niftyreg_install
from bidsreg.qc.verdict import read_thresholds
from bidsreg.registration import REGULARISERS, SIMILARITIES, VELOCITIES, Deformation, Grid, Image
from bidsreg.registration.numerics.inversion import invert_displacement
from bidsreg.registration.presets import preset
from bidsreg.reports.pictures import PICTURES
from bidsreg.translation.cli import build_parser as build_translation_parser
from tests import data, fake_study

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *sorted((ROOT / 'docs').rglob('*.md'))]
#: Options of other programs: pip, SynthSeg, bosh.
OTHERS = {'--extra-index-url', '--index-url', '--no-deps', '--resample', '--no-container', '--skip-data-collection'}
#: Of FreeSurfer's mri_warp_convert.
OTHERS |= {'--initk', '--insrcgeom', '--outm3z'}
#: Of its mris_convert.
OTHERS |= {'--to-scanner'}
#: Of Docker, Podman, buildah and Apptainer.
OTHERS |= {'--build-arg', '--cleanenv', '--containall', '--device', '--entrypoint', '--format', '--gpus', '--network'}
OTHERS |= {'--no-home', '--nv', '--read-only', '--rm', '--tmpfs'}
#: Of SAMSEG's run_samseg.
OTHERS |= {'--pallidum-separate'}
#: Of the scripts in experiments/.
OTHERS |= {
    '--contrasts',
    '--data',
    '--draw',
    '--factors',
    '--heads',
    '--judged',
    '--leave-out',
    '--most',
    '--pair-options',
    '--people',
    '--plot',
    '--scanners',
    '--repeats',
    '--roles',
    '--sessions',
    '--strength',
    '--slice',
    '--slices',
    '--solve',
    '--stretch',
    '--truth',
    '--visits',
}
#: Our programs: every command line of theirs is read by their own parsers.
PARSERS = {
    'bidsreg': build_parser(),
    'bidsreg-pair': pair_cli.build_parser(PROGRAMS),
    'bidsreg-apply': apply_cli.build_parser(),
    'bidsreg-benchmark': build_benchmark_parser(),
    'bidsreg-translate': build_translation_parser(),
    'python -m bidsreg.app.example': example.build_parser(),
    'python -m bidsreg.programs.niftyreg': niftyreg_install.build_parser(),
}
#: Programs that are run in bash, as the line stands there; make only says what it would do.
SHELL = {'bosh', 'make', 'python -m bidsreg.app.boutiques'}
#: What is looked for in sentences, too; there it has to be named in a mark of the page.
FOREIGN = ('apptainer', 'buildah', 'docker', 'mri_convert', 'pip', 'podman')
#: Snippets that take minutes, by what they hold: run with the slow tests.
LONG = ('register(fixed', 'lesions.run()')
#: Which images of a pair of heads are found under which names.
NAMES = {
    'fixed': ('T1w', 'FIXED', 'sub-01_desc-preproc_T1w'),
    'moving': ('T2w', 'MOVING', 'sub-01_T2w'),
    'fixed_mask': ('mask', 'brain', 'brain_mask', 'sub-01_desc-brain_mask'),
    'moving_mask': ('lesion', 'lesion_map', 'sub-01_space-T2w_desc-brain_mask'),
}
#: Paths that stand for others, where a rule is told.
IMAGINED = {'bidsreg/a/b.py', 'tests/a/test_b.py', 'workflows/x.py', 'tests/workflows/test_x.py', 'workflows/NAME.py'}
#: Words of a diary: what a page told before is in git.
HISTORY = re.compile(
    r'(?:are|is) of an earlier|of an? earlier (?:run|version)|measured before|before that commit|used to be|was \.[0-9]'
    r'|any more|any longer|measured anew|` \* \|'
)
MARK = re.compile(r'\*Not run by the tests: ([^*]+)\*')


# ---------------------------------------------------------------------------------------------------- links, options
def options_of(parser) -> set[str]:
    """The long options of a parser, and of the commands below it."""
    commands = [action.choices.values() for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    below = [options_of(command) for some in commands for command in some]
    return {option for option in parser._option_string_actions if option.startswith('--')}.union(*below)


def named_in(text: str) -> set[str]:
    return set(re.findall(r'(?<![\w-])--[a-z][a-z0-9_-]+', text))


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for link in re.findall(r'\]\(([^)\s]+)[^)]*\)', page.read_text(encoding='utf-8')):
        if re.match(r'[a-z]+:', link):
            continue
        place, _, section = link.partition('#')
        target = (page.parent / place) if place else page
        assert target.exists(), link
        assert not section or section in sections(target), link


def sections(page: Path) -> set[str]:
    """Names of the headings as GitHub makes them."""
    heads = re.findall(r'^#+ (.+)$', page.read_text(encoding='utf-8'), re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', head.lower()).replace(' ', '-') for head in heads}


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_options_exist(page):
    known = OTHERS.union(*map(options_of, PARSERS.values()))
    assert named_in(page.read_text(encoding='utf-8')) <= known


def test_every_option_is_told():
    """Each option of both programs is named in the page on their use, in one of its spellings."""
    told = named_in((ROOT / 'docs' / 'usage.md').read_text(encoding='utf-8'))
    for parser in (PARSERS['bidsreg'], PARSERS['bidsreg-pair']):
        for action in parser._actions:
            spellings = {option for option in action.option_strings if option.startswith('--')}
            assert not spellings or spellings & (told | {'--help'}), spellings


def test_the_index_names_every_page():
    index = (ROOT / 'docs' / 'README.md').read_text(encoding='utf-8')
    assert set(re.findall(r'\]\((\w[\w-]*\.md)\)', index)) == {page.name for page in (ROOT / 'docs').glob('*.md')} - {
        'README.md'
    }
    readme = PAGES[0].read_text(encoding='utf-8')
    assert {'(docs/README.md)', '(docs/architecture.md)', '(CONTRIBUTING.md)'} <= set(re.findall(r'\([^)]+\)', readme))


def test_the_architecture_names_every_decision():
    page = (ROOT / 'docs' / 'architecture.md').read_text(encoding='utf-8')
    decisions = sorted(file.name for file in (ROOT / 'docs' / 'decisions').glob('*.md'))
    assert sorted(re.findall(r'\(decisions/([^)]+)\)', page)) == decisions
    assert [name[:4] for name in decisions] == [f'{number:04}' for number in range(1, len(decisions) + 1)]


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_paths_of_the_repository_exist(page):
    """Those that a page sets as code; a file that a run makes is not below these folders."""
    text = page.read_text(encoding='utf-8')
    for path in re.findall(
        r'`((?:bidsreg|workflows|experiments|examples|tests|docs|\.github|\.ci)/[\w./-]*)(?=[`\s])', text
    ):
        assert path in IMAGINED or (ROOT / path).exists(), path


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_pages_tell_facts_not_their_history(page):
    text = ' '.join(page.read_text(encoding='utf-8').split())
    assert not HISTORY.findall(text)


# ---------------------------------------------------------------------------------------------------- blocks
@dataclass(frozen=True)
class Block:
    """A fenced block of a page; `mark` is why it is not run, if it is not."""

    page: Path
    number: int
    language: str
    code: str
    mark: str

    @property
    def long(self) -> bool:
        return any(words in self.code for words in LONG)

    def __str__(self) -> str:
        return f'{self.page.parent.name}/{self.page.name}-{self.number}'.removeprefix(f'{ROOT.name}/')


def blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding='utf-8')
    for number, found in enumerate(re.finditer(r'^( *)```(\w*)\n(.*?)^\1```$', text, re.DOTALL | re.MULTILINE)):
        mark = re.search(MARK.pattern + r'\s*\Z', text[: found.start()])
        yield Block(page, number, found[2], dedent(found[3]), mark[1] if mark else '')


def commands(code: str) -> Iterator[tuple[str, list[str]]]:
    """The lines of a block, continued ones joined, with their words; brackets of our synopses are taken off."""
    for line in code.replace('\\\n', ' ').splitlines():
        bare = re.sub(r'[][]', '', re.sub(r'\[options.*?\]', '', line)) if line.startswith('bidsreg') else line
        words = shlex.split(bare.partition(' > ')[0], comments=True)
        if words:
            yield line, words


def program_of(words: list[str]) -> str:
    return ' '.join(words[:3]) if words[:2] == ['python', '-m'] else words[0]


def read_command(words: list[str]) -> None:
    """Read the line of one of our programs by its own parser; what is quick is done."""
    name = program_of(words)
    arguments = words[len(name.split()) :]
    given = PARSERS[name].parse_args(arguments)
    if name == 'bidsreg' and (getattr(given, 'dry_run', False) or given.analysis_level == ['group']):
        assert main(arguments) == 0
    if name == 'bidsreg-apply':
        assert apply_cli.main(arguments) == 0


def run_commands(code: str) -> None:
    for line, words in commands(code):
        if program_of(words) in PARSERS:
            read_command(words)
        elif words[0] == 'antsApplyTransforms':  # ANTs' program is in ANTsPy
            assert get_lib_fn(words[0])(words[1:]) == 0
        else:
            assert program_of(words) in SHELL, f'neither run nor marked: {line}'
            shell(line)


def shell(line: str) -> None:
    """Run a line in bash, with the programs of this Python; absolute folders are here, too."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ['PATH']])
    line = re.sub(r'^make ', f'make -n -C {ROOT} ', re.sub(r'(?<=\s)/(?=scratch|data)', './', line))
    done = subprocess.run(
        ['bash', '-euc', line], env={**os.environ, 'PATH': path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f'{line}\n{done.stdout}\n{done.stderr}'


def run_python(code: str) -> None:
    exec(compile(code, 'the page', 'exec'), {})


def name_of(code: str) -> str:
    """A TOML block names its file, and so what it is for, in its first line."""
    return re.match(r'# (\w+\.toml)\b', code)[1]


def read_settings(code: str) -> None:
    name = name_of(code)
    {'mine.toml': lambda: from_toml(name, preset('node-mind')), 'strict.toml': lambda: read_thresholds(name)}[name]()


def read_invocation(code: str) -> None:
    Path('invocation.json').write_text(code)
    _, *words = shlex.split(bosh(['exec', 'simulate', 'boutiques.json', '-i', 'invocation.json']).shell_command)
    PARSERS['bidsreg'].parse_args(words)


RUN = {
    '': run_commands,
    'python': run_python,
    'toml': read_settings,
    'json': read_invocation,
    'text': lambda code: None,
}
BLOCKS = [block for page in PAGES for block in blocks_of(page)]


@pytest.fixture(scope='module')
def heads(tmp_path_factory):
    """Small heads, datasets, transforms, settings and a study under the names that the pages use."""
    folder = tmp_path_factory.mktemp('pages')
    pair = data.pair((24, 28, 24), seed=1)
    for source, targets in NAMES.items():
        for target in targets:
            getattr(pair, source).to_filename(folder / f'{target}.nii.gz')
    tumour = np.zeros(pair.moving.shape, np.uint8)
    tumour[11:13, 13:15, 11:13] = 1
    nib.Nifti1Image(tumour, pair.moving.affine).to_filename(folder / 'tumour.nii.gz')
    for name in ('affine.txt', 'sub-01_from-T2w_to-T1w_mode-image_desc-affine_xfm.tfm'):
        data.write_itk_affine(pair.truth.matrix, folder / name)
    found = deformation_of(pair, Image.load(folder / 'T1w.nii.gz').grid)
    for name in ('result', 'second'):
        (folder / name).mkdir()
        found.save(folder / name / 'forward.h5')
        found.inverted().save(folder / name / 'inverse.h5')
    shutil.copy(folder / 'result/forward.h5', folder / 'sub-01_from-T2w_to-T1w_mode-image_xfm.h5')
    write_carried(folder, found, pair)
    for name in ('BIDS_DIR', 'BIDS', 'bids'):
        data.write_dataset(folder / name, {label: {None: ['T1w', 'T2w']} for label in ('01', '02')}, (24, 28, 24))
    for name in ('OUTPUT_DIR', 'OUT', 'out'):
        fake_study.write_study(folder / name, fake_study.LEAST)
    assert main([str(folder / 'BIDS'), str(folder / 'OUT'), 'group']) == 0
    shutil.copy(folder / 'OUT/group_registration.tsv', folder)
    (folder / 'participants.tsv').write_text('participant_id\tage\nsub-001\t30\n')
    for block in BLOCKS:
        if block.language == 'toml':
            (folder / name_of(block.code)).write_text(block.code)
    shutil.copy(ROOT / 'boutiques.json', folder)
    return folder


def write_carried(folder: Path, found: Deformation, pair: data.Pair) -> None:
    """Derivatives of a pair, and landmarks and a surface that lie in its T2w."""
    anat = folder / 'derivatives/sub-01/anat'
    anat.mkdir(parents=True)
    pair.fixed.to_filename(anat / 'sub-01_desc-preproc_T1w.nii.gz')
    pair.moving.to_filename(anat / 'sub-01_desc-preproc_T2w.nii.gz')
    found.save(anat / 'sub-01_from-T2w_to-T1w_mode-image_xfm.h5')
    found.inverted().save(anat / 'sub-01_from-T1w_to-T2w_mode-image_xfm.h5')
    places = pair.points[:9, 3:]
    lines = ['\t'.join(map(str, place)) for place in places]
    (folder / 'landmarks.tsv').write_text('\n'.join(['x\ty\tz', *lines, '']))
    control = [{'position': place.tolist()} for place in places]
    markups = {'markups': [{'coordinateSystem': 'RAS', 'controlPoints': control}]}
    (folder / 'landmarks.mrk.json').write_text(json.dumps(markups))
    vertices = nib.gifti.GiftiDataArray(
        places.astype(np.float32), 'NIFTI_INTENT_POINTSET', coordsys=nib.gifti.GiftiCoordSystem(1, 1)
    )
    nib.save(nib.gifti.GiftiImage(darrays=[vertices]), folder / 'white.surf.gii')


def deformation_of(pair: data.Pair, grid: Grid) -> Deformation:
    u = pair.truth.displacement(data.world(grid.shape, grid.affine)).astype(np.float32)
    return Deformation(pair.truth.matrix, u, invert_displacement(u, grid, tolerance=0.01)[0], grid)


@pytest.fixture
def registries():
    """Forget afterwards what a snippet registers, for the other tests of this process."""
    tables = (SIMILARITIES, VELOCITIES, REGULARISERS, PROGRAMS, PICTURES, KINDS)
    before = [dict(table) for table in tables]
    yield
    for table, content in zip(tables, before, strict=True):
        table.clear()
        table.update(content)


@pytest.fixture
def here(heads, registries, tmp_path, monkeypatch):
    """A copy of it, to work in."""
    monkeypatch.chdir(shutil.copytree(heads, tmp_path / 'here'))


# ---------------------------------------------------------------------------------------------------- the pages run
@pytest.mark.parametrize('block', [block for block in BLOCKS if not block.long], ids=str)
def test_blocks_are_run_or_marked(block, here):
    if not block.mark:
        RUN[block.language](block.code)
        return
    for _, words in commands(block.code):
        if program_of(words) in PARSERS and '--version' not in words:  # a command line, run or not
            read_command(words)


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_commands_in_sentences(page, here):
    """They are read; what other programs would do is named in a mark somewhere on the page."""
    text = page.read_text(encoding='utf-8')
    marks = ' '.join(MARK.findall(text))
    for code in re.findall(r'`([a-z][^`]* [^`]*)`', re.sub(r'```.*?```', '', text, flags=re.DOTALL)):
        program, first, *_ = words = shlex.split(code)
        if program in PARSERS and not first.startswith('-'):
            read_command(words)
        elif program == 'make':
            shell(code)
        elif (program, Path(first).suffix) == ('python', '.py'):
            assert (ROOT / first).is_file()
        elif program in FOREIGN:
            assert program in marks, code


def test_a_block_that_is_neither_run_nor_marked_fails(here, tmp_path):
    page = tmp_path / 'page.md'
    page.write_text(
        '*Not run by the tests: it is\nlong.*\n\n```\nfrobnicate x\n```\n```\nfrobnicate x\n```\n'
        '```\nbidsreg a b participant --nosuch\n```\n```ruby\nputs 1\n```\n```python\n1 / 0\n```\n'
    )
    marked, foreign, wrong, unknown, raising = blocks_of(page)
    assert marked.mark == 'it is\nlong.'
    assert not foreign.mark
    for block, error in (
        (foreign, AssertionError),
        (wrong, SystemExit),
        (unknown, KeyError),
        (raising, ZeroDivisionError),
    ):
        with pytest.raises(error):
            RUN[block.language](block.code)


@pytest.mark.slow
@pytest.mark.parametrize('block', [block for block in BLOCKS if block.long], ids=str)
def test_long_snippets(block, here):
    before = [other.code for other in blocks_of(block.page) if other.number < block.number and other.language]
    RUN[block.language]('\n'.join([*before, block.code]))


@pytest.mark.slow
@pytest.mark.parametrize('name', ['README.md', 'docs/pair.md'])
def test_commands_for_real(name, here):
    """What the pages tell to type, in their order, by the whole app on small heads."""
    for out in ('out', 'OUTPUT_DIR', 'result'):
        shutil.rmtree(out)
    shutil.rmtree('BIDS_DIR')
    Path('out').mkdir()
    Path('OUTPUT_DIR').symlink_to('out')  # so that one registration serves all
    Path('BIDS_DIR').symlink_to('bids')
    ran = 0
    for block in blocks_of(ROOT / name):
        for line, words in commands(block.code) if not block.language and not block.mark else ():
            if words[0] in ('bidsreg', 'bidsreg-pair'):
                shutil.rmtree('result', ignore_errors=True)
                shell(re.sub(r'\[options.*?\]', '', line))
                ran += 1
    assert ran
    if name == 'README.md':
        assert len(list(Path('out').glob('sub-*/anat/*_desc-registration_qc.json'))) == 2
        assert Path('out/group_registration.html').is_file()
