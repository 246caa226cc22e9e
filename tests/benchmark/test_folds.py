"""Nobody is trained on a head that it is judged on."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from bidsreg.benchmark.case import Case
from bidsreg.benchmark.folds import check_folds, deal, describe
from bidsreg.errors import InputError


def between(*people):
    """All ordered pairs of people, as a BIDS dataset has them."""
    return [
        Case(
            name=f'{one}-{other}',
            fixed=Path(f'/{one}_T1w.nii'),
            moving=Path(f'/{other}_T2w.nii'),
            fixed_subject=one,
            moving_subject=other,
        )
        for one, other in itertools.permutations(people, 2)
    ]


@pytest.mark.parametrize(('people', 'count'), [('abcdef', 3), ('abcdefgh', 4), ('abcdefgh', 20)])
def test_no_head_of_a_pair_is_among_those_of_its_training(people, count):
    cases = between(*people)
    folds = deal(cases, count, seed=1)
    check_folds(folds, cases)
    for case in cases:
        scans = folds.scans(cases, folds.left_out(case))
        trained = {other.heads[end] for other, end in scans}
        assert not trained & set(case.heads.values())
        # each file once
        files = [getattr(other, end) for other, end in scans]
        assert len(files) == len(set(files))
        assert {end for _, end in scans} == {'fixed', 'moving'}
    sizes = [list(folds.groups.values()).count(group) for group in set(folds.groups.values())]
    assert max(sizes) - min(sizes) <= 1
    assert len(sizes) == min(count, len(people))


def test_models_are_as_few_as_the_pairs_need():
    cases = [case for case in between(*'abcdefgh') if case.name in ('a-b', 'b-a', 'c-d')]
    folds = deal(cases, 8, seed=0)
    assert len(folds.needed(cases)) == 2
    assert folds.left_out(cases[0]) == folds.left_out(cases[1])


def test_within_a_head_a_pair_has_one_group():
    cases = [
        Case(name=one, fixed=Path(f'/{one}_T1w'), moving=Path(f'/{one}_T2w'), fixed_subject=one, moving_subject=one)
        for one in 'abcdef'
    ]
    folds = deal(cases, 3, seed=0)
    assert {len(folds.left_out(case)) for case in cases} == {1}
    assert len(folds.needed(cases)) == 3
    check_folds(folds, cases)


def test_a_file_of_nobody_known_is_a_head_of_its_own():
    cases = [Case(name=str(n), fixed=Path('/one'), moving=Path(f'/{n}')) for n in range(3)]
    folds = deal(cases, 2, seed=0)
    assert set(folds.groups) == {'/one', '/0', '/1', '/2'}
    assert all(folds.groups['/one'] in folds.left_out(case) for case in cases)


def test_the_same_seed_deals_the_same():
    cases = between(*'abcdefghij')
    assert deal(cases, 3, 1) == deal(list(reversed(cases)), 3, 1)
    assert deal(cases, 3, 1) != deal(cases, 3, 2)


def test_too_few_heads_are_told_before_any_work():
    cases = between(*'abc')
    with pytest.raises(InputError, match=r'[abc]-[abc]: too few heads .*\(1 of 3\).*--folds'):
        check_folds(deal(cases, 3, 0), cases)
    # two heads are left, but no moving image of theirs
    one_way = [case for case in between(*'abcd') if case.name in ('a-b', 'c-b', 'd-b')]
    with pytest.raises(InputError, match='too few heads'):
        check_folds(deal(one_way, 4, 0), one_way)


def test_the_table_says_it():
    cases = between(*'abcdef')
    said = describe(deal(cases, 3, 0), cases)
    assert said.startswith('3 models of each translation, on 2 heads: 6 heads in 3 groups') or '6 models' in said
    assert 'a model is trained on no group of a pair that it translates' in said
