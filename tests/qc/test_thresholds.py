"""Thresholds by families: one file of a user has those of all."""

from __future__ import annotations

import pytest

from bidsreg.errors import InputError
from bidsreg.qc.normalisation import NORMALISATION_CHECKS
from bidsreg.qc.thresholds import FAMILIES, Threshold, read_thresholds
from bidsreg.qc.verdict import CHECKS


def test_every_check_of_every_family_has_thresholds_and_no_name_is_in_two():
    found = {family: set(read_thresholds(family=family)) for family in FAMILIES}
    assert found == {'pair': set(CHECKS), 'normalisation': set(NORMALISATION_CHECKS)}
    assert not found['pair'] & found['normalisation']


def test_one_file_has_those_of_both(tmp_path):
    path = tmp_path / 'own.toml'
    path.write_text('[space_mask]\ncheck_below = 0.99\n[mask_dice]\ncheck_below = 0.98\n')
    assert read_thresholds(path)['mask_dice'].check == 0.98
    assert read_thresholds(path, family='normalisation')['space_mask'].check == 0.99
    path.write_text('[space_msak]\ncheck_below = 0.99\n')
    with pytest.raises(InputError, match="Did you mean 'space_mask'"):
        read_thresholds(path)


def test_the_threshold_itself_is_good():
    limit = Threshold(0.9, 0.5, 'below')
    assert [limit.status(value) for value in (1, 0.9, 0.8, 0.5, 0.4, float('nan'))] == [
        'PASS',
        'PASS',
        'CHECK',
        'CHECK',
        'FAIL',
        'CHECK',
    ]


def test_a_file_of_windows_begins_with_a_mark_that_is_no_text(tmp_path):
    path = tmp_path / 'own.toml'
    path.write_text('[mask_dice]\ncheck_below = 0.98\n', encoding='utf-8-sig')
    assert read_thresholds(path)['mask_dice'].check == 0.98


def test_tables_in_tables_without_end_are_an_error_of_the_user(tmp_path):
    path = tmp_path / 'own.toml'
    path.write_text('a = ' + 10000 * '[')
    with pytest.raises(InputError, match='nested too deeply'):
        read_thresholds(path)
