"""The Boutiques descriptor says what the app does: against its parser, and by Boutiques' own program ``bosh``."""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from boutiques import bosh
from boutiques.invocationSchemaHandler import InvocationValidationError
from boutiques.validator import DescriptorValidationError

from bidsreg.app import example
from bidsreg.app.boutiques import EXIT_CODES, descriptor
from bidsreg.app.checks import check_program
from bidsreg.bids.names import PRODUCTS, pair_outputs
from bidsreg.bids.pairs import find_pairs
from bidsreg.cli import build_parser, parse_settings
from bidsreg.errors import InputError
from bidsreg.programs import APP_PROGRAMS
from bidsreg.registration.presets import PRESETS
from bidsreg.settings import Settings
from tests import data

FILE = Path(__file__).resolve().parents[2] / 'boutiques.json'
NECESSARY = {'bids_dir': 'raw', 'output_dir': 'out', 'analysis_level': ['participant']}


@pytest.fixture(scope='module')
def told():
    return json.loads(FILE.read_text(encoding='utf-8'))


@pytest.fixture(scope='module')
def inputs(told):
    return {item['id']: item for item in told['inputs']}


def invocation(folder: Path, **values) -> str:
    path = folder / 'invocation.json'
    path.write_text(json.dumps({**NECESSARY, **values}))
    return str(path)


def simulate(folder: Path, **values) -> list[str]:
    """Words of the command that Boutiques makes of values."""
    done = bosh(['exec', 'simulate', str(FILE), '-i', invocation(folder, **values)])
    return shlex.split(done.shell_command)


# ---------------------------------------------------------------------------------------------------- the descriptor
def test_the_file_is_that_of_the_parser(told):
    """If this fails: ``python -m bidsreg.app.boutiques > boutiques.json``."""
    assert told == json.loads(json.dumps(descriptor()))
    done = subprocess.run([sys.executable, '-m', 'bidsreg.app.boutiques'], capture_output=True, text=True, check=True)
    assert done.stdout == FILE.read_text(encoding='utf-8')


def test_bosh_finds_it_valid():
    bosh(['validate', str(FILE)])


@pytest.mark.parametrize('spoilt', [{'type': 'Folder'}, {'value-key': '[NOWHERE]'}])
def test_bosh_finds_a_spoilt_one_invalid(tmp_path, told, spoilt):
    first, *others = told['inputs']
    (tmp_path / 'spoilt.json').write_text(json.dumps({**told, 'inputs': [{**first, **spoilt}, *others]}))
    with pytest.raises(DescriptorValidationError, match=next(iter(spoilt.values())).strip('[]')):
        bosh(['validate', str(tmp_path / 'spoilt.json')])


def example_of(item: dict):
    """A value that the input takes."""
    one = {'Flag': True, 'Number': item.get('minimum', 0) + 1, 'String': 'a b', 'File': '/a b'}[item['type']]
    one = '3GB' if item['id'] == 'mem' else item.get('value-choices', [one])[0]
    return [one] if item.get('list') else one


def test_every_option_comes_through(tmp_path, inputs):
    """All of them filled in at once: the parser reads from Boutiques' command line what was filled in."""
    actions = [action for action in build_parser()._actions if action.dest not in ('help', 'version')]
    given = {name: example_of(item) for name, item in inputs.items()}
    program, *words = simulate(tmp_path, **given)
    assert program == 'bidsreg'
    read = vars(build_parser().parse_args(words))
    assert set(read) == {action.dest for action in actions}
    assert len(given) == len(actions)
    given['mem_gb'], given['verbose'] = 3.0, 1  # as the parser reads 3GB and -v
    del given['mem']
    plain = {name: [str(x) for x in value] if isinstance(value, list) else value for name, value in read.items()}
    assert {name: str(value) if isinstance(value, Path) else value for name, value in plain.items()} == given


def test_several_values_and_loud(tmp_path):
    words = simulate(tmp_path, participant_label=['01', 'sub-02'], verbose='-vv', derivatives=['/x', '/y'])[1:]
    read = parse_settings(words)
    assert read.participant_label == ('01', '02')
    assert read.derivatives == (Path('/x'), Path('/y'))
    assert read.verbose == 2


def test_what_is_not_filled_in_is_not_said(tmp_path):
    """Otherwise it would win over a configuration file."""
    assert simulate(tmp_path) == ['bidsreg', 'raw', 'out', 'participant']


def test_choices_and_types_are_the_parsers(inputs):
    parser = build_parser()
    assert not parser._mutually_exclusive_groups  # the descriptor would want them as groups
    for action in parser._actions:
        named = [flag[2:].replace('-', '_') for flag in action.option_strings if flag.startswith('--')] or [action.dest]
        if named[0] in ('help', 'version'):
            continue
        item = inputs[named[0]]
        if action.choices:
            assert item['value-choices'] == list(action.choices)
        assert (item['type'] == 'Number') == (action.type in (int, float))
        assert item.get('integer', False) == (action.type is int)
        assert item.get('list', False) == (action.nargs in ('+', '*'))
        assert item['optional'] == bool(action.option_strings)
        if not isinstance(action, argparse._CountAction):
            assert item.get('command-line-flag') in (action.option_strings or [None])
        assert '%%' not in item['description']
        assert '%(' not in item['description']
    assert inputs['method']['value-choices'] == [*PRESETS, *APP_PROGRAMS]


def test_what_is_to_be_there_is_a_file(inputs):
    """Boutiques binds files and folders into the container, and stops when one is missing."""
    there = {'bids_dir', 'derivatives', 'bids_filter_file', 'config_file', 'qc_thresholds', 'use_plugin'}
    assert {name for name, item in inputs.items() if item['type'] == 'File'} >= there
    for made in ('output_dir', 'work_dir', 'bids_database_dir'):
        assert inputs[made]['type'] == 'String'


def test_defaults_are_told(inputs):
    """In the words of the help: a default-value would be passed on and win over a configuration file."""
    settings = Settings(bids_dir='raw', output_dir='out', work_dir='work')
    checked = 0
    for name, item in inputs.items():
        assert 'default-value' not in item
        value = getattr(settings, name, None)
        if isinstance(value, str) or (item['type'] == 'Number' and name not in ('nprocs', 'omp_nthreads')):
            assert (f'({value:g})' if isinstance(value, float) else f'({value})') in item['description'], name
            checked += 1
    assert checked >= 7


def test_limits_are_those_of_the_app(tmp_path, inputs):
    for name, item in inputs.items():
        if 'minimum' not in item:
            continue
        least = item['minimum'] + (0.5 if item.get('exclusive-minimum') else 0)
        below = item['minimum'] - (0 if item.get('exclusive-minimum') else 1)
        Settings(bids_dir='raw', output_dir='out', **{name: least})
        simulate(tmp_path, **{name: least})
        with pytest.raises(InputError):
            Settings(bids_dir='raw', output_dir='out', **{name: below})
        with pytest.raises(InvocationValidationError, match='minimum'):
            simulate(tmp_path, **{name: below})


def test_methods_disable_what_the_app_refuses_beside_them(inputs):
    for name, disabled in inputs['method']['value-disables'].items():
        settings = Settings(bids_dir='raw', output_dir='out', method=name, working_resolution=2.0)
        if 'working_resolution' in disabled:
            with pytest.raises(InputError, match='leave --working-resolution out'):
                check_program(settings)
        else:
            check_program(settings)


@pytest.mark.parametrize(
    ('name', 'value', 'why'),
    [
        ('pairing', 'x', 'is not one of'),
        ('method', 'greedy', 'is not one of'),
        ('nprocs', 'two', 'is not of type'),
        ('participant_label', [], 'should be non-empty'),
        ('nosuch', 1, 'Additional properties'),
    ],
)
def test_bosh_refuses_what_the_app_would(tmp_path, name, value, why):
    with pytest.raises(InvocationValidationError, match=why):
        simulate(tmp_path, **{name: value})


def test_output_files_are_found(tmp_path, told):
    """Every product of a pair, with and without sessions and with more entities, by the template of its name."""
    subjects = {'01': {None: ['T1w', 'T2w']}, '02': {'a': ['acq-x_run-1_T1w', 'acq-x_run-1_T2w']}}
    raw = data.write_dataset(tmp_path / 'raw', subjects)
    templates = {item['id']: item['path-template'].replace('[OUTPUT_DIR]', 'out') for item in told['output-files']}
    for pair in find_pairs(Settings(bids_dir=raw, output_dir=tmp_path / 'out')).pairs:
        for key, path in pair_outputs(pair, 'out').items():
            name = f'{key}_of_session' if pair.session else key
            assert fnmatch.fnmatchcase(str(path), templates[name]), name
            assert str(path).count('/') == templates[name].count('/')  # unlike in a glob, * takes in / here
    assert {name.removesuffix('_of_session') for name in templates} >= set(PRODUCTS)


# ---------------------------------------------------------------------------------------------------- real runs
@pytest.fixture
def launch(tmp_path, monkeypatch):
    """Run the app by Boutiques, in an empty folder of its own, outside of a container."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('PATH', os.pathsep.join([str(Path(sys.executable).parent), os.environ['PATH']]))

    def run(**values):
        options = ['--no-container', '--skip-data-collection', '-s']
        return bosh(['exec', 'launch', *options, str(FILE), invocation(tmp_path, **values)])

    return run


@pytest.mark.slow
def test_exit_codes_come_through_with_their_meaning(launch, tmp_path):
    raw = data.write_dataset(tmp_path / 'raw', images={'sub-01_T2w.nii.gz': None})  # a file of no bytes
    failed = launch(bids_dir=str(raw), skip_bids_validation=True)
    assert (failed.exit_code, failed.error_message) == (1, EXIT_CODES[1])
    assert failed.missing_files == []
    refused = launch(bids_dir=str(raw), participant_label=['99'], output_dir='other')
    assert (refused.exit_code, refused.error_message) == (2, EXIT_CODES[2])
    assert [item.boutiques_name for item in refused.missing_files] == ['dataset']


@pytest.mark.slow
def test_the_demo_by_boutiques(launch, tmp_path):
    """Every output file that the descriptor names is found (those with sessions aside), and it aligns."""
    bids = example.make_dataset(tmp_path / 'bids', voxel=3.0, t2w_voxel=(2.5, 2.5, 4.0))
    levels = ['participant', 'group']
    done = launch(bids_dir=str(bids), analysis_level=levels, sloppy=True, skip_bids_validation=True, nprocs=2)
    assert done.exit_code == 0
    found = {item.boutiques_name: item.file_name for item in done.output_files}
    assert set(found) >= {'dataset', 'reports', 'group', 'log', *PRODUCTS}
    errors = example.check(bids, tmp_path / 'out')
    assert errors['after'].mean() <= errors['affine'].mean() < errors['before'].mean()
