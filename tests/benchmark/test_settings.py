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
        ({'contrasts': ['T1w', 'bold']}, "--contrasts 'bold': choose from T1w"),
        ({'contrasts': ['T1w']}, 'contrasts should be of type str'),
        ({'contrasts': ['T1w', 'T2w', 'FLAIR']}, 'contrasts should be of type str'),
    ],
)
def test_bad_values(values, message):
    with pytest.raises(InputError, match=message):
        make(**values)


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        (
            {'contrasts': ['FLAIR', 'T1w']},
            '--contrasts FLAIR T1w: in a BIDS dataset .* T1w or a T2w, which comes first',
        ),
        ({'contrasts': ['T1w', 'T1w'], 'task': 'intra'}, '--contrasts T1w T1w: .* only --task inter'),
        ({'contrasts': ['T1w', 'T1w'], 'label_with': 'samseg'}, '--label-with samseg wants two contrasts'),
        ({'contrasts': ['T2w', 'T1w'], 'label_with': 'atropos'}, 'atropos labels a T1w: .* not T2w'),
        ({'contrasts': ['T1w', 'FLAIR'], 'task': 'rescan'}, 'maps of a T1w and a T2w: leave --contrasts out'),
    ],
)
def test_contrasts_that_a_dataset_cannot_have(tmp_path, values, message):
    with pytest.raises(InputError, match=message):
        make(input=tmp_path, **values)


@pytest.mark.parametrize('contrasts', [('FLAIR', 'T1w'), ('T1w', 'T1w')])
def test_a_table_has_any_contrasts(contrasts):
    assert make(contrasts=list(contrasts)).contrasts == contrasts


def test_contrasts_are_part_of_what_a_benchmark_is(tmp_path):
    plain, flair = (
        make(input=tmp_path).identity(['a']),
        make(input=tmp_path, contrasts=['T1w', 'FLAIR']).identity(['a']),
    )
    # folders of a T1w and a T2w do not say so
    assert flair == {**plain, 'contrasts': ['T1w', 'FLAIR']}
    assert 'contrasts' not in plain
    assert make(input=tmp_path, contrasts=['T1w', 'T2w']).identity(['a']) == plain


def test_labels_are_said_to_be_of_the_contrasts(tmp_path):
    made = make(input=tmp_path, contrasts=['T1w', 'FLAIR'], label_with='atropos')
    assert made.label_caption() == 'tissue classes by Atropos on the T1w, carried to the FLAIR by a rigid'
    assert make(labels='{fixed}.tsv').label_caption().endswith('{fixed}.tsv')


def test_how_many_pairs(tmp_path):
    assert make(input=tmp_path).wanted_pairs(100) == INTER_PAIRS
    assert make(input=tmp_path, task='intra').wanted_pairs(100) == 100
    assert make(input=tmp_path / 'table.tsv').wanted_pairs(100) == 100
    assert make(input=tmp_path, pairs=7).wanted_pairs(100) == 7
    with pytest.raises(InputError, match='there are only 3 pairs'):
        make(input=tmp_path, pairs=7).wanted_pairs(3)
