"""The command line of the benchmark: every option is a setting, and is told."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from bidsreg import __version__
from bidsreg.benchmark.cli import build_parser, main
from bidsreg.benchmark.settings import BenchmarkSettings


def test_every_option_is_told():
    page = (Path(__file__).resolve().parents[2] / 'docs' / 'benchmark.md').read_text(encoding='utf-8')
    told = set(re.findall(r'(?<![\w-])--[a-z][a-z0-9-]+', page))
    for action in build_parser()._actions:
        spellings = {word for word in action.option_strings if word.startswith('--')}
        assert not spellings or spellings & (told | {'--help', '--version'}), spellings


def test_options_are_fields_of_the_settings_which_have_the_defaults():
    names = {action.dest for action in build_parser()._actions} - {'help', 'version'}
    assert names <= {field.name for field in dataclasses.fields(BenchmarkSettings)}
    given = vars(build_parser().parse_args(['pairs.tsv', 'out', '--methods', 'affine']))
    assert given == {'input': Path('pairs.tsv'), 'output_dir': Path('out'), 'methods': ['affine']}


@pytest.mark.parametrize('words', [['pairs.tsv', 'out'], ['pairs.tsv', 'out', '--meth', 'affine']])
def test_methods_are_to_be_named_in_full(words, capsys):
    with pytest.raises(SystemExit, match='2'):
        main(words)
    assert '--methods' in capsys.readouterr().err


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit, match='0'):
        main(['--version'])
    assert capsys.readouterr().out.strip() == f'bidsreg-benchmark {__version__}'
