"""What a filter file asks for, and what in it is an error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bidsreg.bids.pairs import plan_table
from bidsreg.cli import read_filters
from bidsreg.errors import InputError
from tests.planning import names, plan


def filtered(root: Path, content, *files: str):
    path = root / 'filter.json'
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return plan(root, *files, bids_filters=read_filters(path))


MANY = ('sub-01_acq-a_T1w', 'sub-01_acq-b_T1w', 'sub-01_run-01_T2w', 'sub-01_run-02_T2w', 'sub-01_T2w')


@pytest.mark.parametrize(
    ('content', 'pairs'),
    [
        ({'t1w': {'acquisition': 'b'}, 't2w': {'run': 2}}, [('acq-b', 'run-02')]),
        ({'T1w': {'acquisition': 'b'}, 'T2W': {'run': '02'}}, [('acq-b', 'run-02')]),
        ({'t2w': {'run': None}}, [('acq-a', '')]),
        ({'t2w': {'run': '*'}}, [('acq-a', 'run-01'), ('acq-a', 'run-02')]),
        ({'t2w': {'run': [2, None]}}, [('acq-a', ''), ('acq-a', 'run-02')]),
        (
            {'t1w': {'datatype': 'anat', 'suffix': 'T1w', 'acquisition': ['b']}, 't2w': {'run': 1}},
            [('acq-b', 'run-01')],
        ),
    ],
)
def test_filter_file(tmp_path, content, pairs):
    found = filtered(tmp_path, content, *MANY)
    expected = {(f'sub-01_{one}_T1w', f'sub-01_{two}_T2w'.replace('__', '_')) for one, two in pairs}
    assert set(names(found)) == expected
    assert any('--bids-filter-file' in item.reason for item in found.left_out)
    assert all(item.filtered == ('--bids-filter-file' in item.reason) for item in found.left_out)
    assert 'filtered' in set(plan_table(found)['decision'])


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('{not json', 'cannot be read'),
        ('[1, 2]', 'or the like'),
        ({'t1w': 'mprage'}, 'or the like'),
        ({'bold': {'task': 'rest'}}, "key 'bold' is not used here"),
        ({'t1w': {'acquisiton': 'a'}}, "no entity 'acquisiton'. Did you mean 'acquisition'"),
        ({'t1w': {'acq': 'a'}}, "write 'acquisition' for 'acq'"),
        ({'t1w': {'acquisition': 'c'}}, 'acquisition = c matches no file'),
        ({'t1w': {'acquisition': ['a', 'c']}}, 'acquisition = c matches no file'),
        ({'t1w': {'acquisition': None}}, 'acquisition = null matches no file'),
        ({'t2w': {'reconstruction': '*'}}, 'matches no file'),
        ({'t2w': {'suffix': 'FLAIR'}}, 'suffix = FLAIR matches no file'),
    ],
)
def test_filter_that_matches_nothing_is_an_error(tmp_path, content, message):
    with pytest.raises(InputError, match=message.replace('"', '.').replace('*', '.')):
        filtered(tmp_path, content, *MANY)


def test_filter_whose_parts_match_but_never_together(tmp_path):
    content = {'t2w': {'run': 1, 'acquisition': 'x'}}
    with pytest.raises(InputError, match='no T2w matches all'):
        filtered(tmp_path, content, 'sub-01_T1w', 'sub-01_run-1_T2w', 'sub-01_acq-x_T2w')


def test_missing_filter_file(tmp_path):
    with pytest.raises(InputError, match='cannot be read'):
        read_filters(tmp_path / 'none.json')
