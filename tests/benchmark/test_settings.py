"""Settings of a benchmark: as strict as those of the app."""

from __future__ import annotations

from pathlib import Path

import pytest

from bidsreg.benchmark.settings import INTER_PAIRS, BenchmarkSettings
from bidsreg.errors import InputError


def make(**values) -> BenchmarkSettings:
    return BenchmarkSettings(**{'input': 'raw', 'output_dir': 'out', 'methods': ['affine'], **values})


def test_lists_are_tuples_and_paths_absolute():
    settings = make(derivatives=['~/masks'], labels='l.tsv')
    assert settings.methods == ('affine',)
    assert settings.input == Path.cwd() / 'raw'
    assert settings.derivatives == (Path.home() / 'masks',)
    assert settings.labels == Path.cwd() / 'l.tsv'


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        ({'pairs': '3'}, "pairs should be of type int, not '3'"),
        ({'pairs': 3.0}, 'pairs should be of type int'),
        ({'pairs': 0}, '--pairs must be at least 1'),
        ({'seed': '1'}, 'seed should be of type int'),
        ({'seed': -1}, '--seed must lie between 0 and 2147483647'),
        ({'random_seed': -1}, '--random-seed must lie between 0'),
        ({'sloppy': 'no'}, 'sloppy should be of type bool'),
        ({'methods': [3]}, 'methods should be of type str'),
        ({'labels': 3}, 'labels should be of type Path'),
        ({'task': 'between'}, '--task .*inter, intra'),
        ({'prealign': 'rigid'}, '--prealign .*affine, none'),
    ],
)
def test_bad_values(values, message):
    with pytest.raises(InputError, match=message):
        make(**values)


def test_how_many_pairs(tmp_path):
    assert make(input=tmp_path).wanted_pairs(100) == INTER_PAIRS
    assert make(input=tmp_path, task='intra').wanted_pairs(100) == 100
    assert make(input=tmp_path / 'table.tsv').wanted_pairs(100) == 100
    assert make(input=tmp_path, pairs=7).wanted_pairs(100) == 7
    with pytest.raises(InputError, match='there are only 3 pairs'):
        make(input=tmp_path, pairs=7).wanted_pairs(3)
