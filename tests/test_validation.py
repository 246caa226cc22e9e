"""Strict types for settings, whoever reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bidsreg.errors import InputError
from bidsreg.validation import closest, coerce, convert, load_toml, option, read_fields, suggestion


@pytest.mark.parametrize(
    ('value', 'hint', 'found'),
    [
        (3, int, 3),
        (3, float, 3.0),
        (2.5, float, 2.5),
        ('x', str, 'x'),
        (True, bool, True),
        ('a', Path, Path.cwd() / 'a'),
        ('~/a', Path, Path.home() / 'a'),
        (None, int | None, None),
        (4, float | None, 4.0),
        ([1, 2], tuple[float, ...], (1.0, 2.0)),
        ([], tuple[int, ...], ()),
        ([['h1', 1]], tuple[tuple[str, float], ...], (('h1', 1.0),)),
        ({'t1w': {'run': 1}}, Mapping[str, Mapping[str, Any]], {'t1w': {'run': 1}}),
    ],
)
def test_values_of_a_type(value, hint, found):
    made = convert(value, hint)
    assert made == found
    assert type(made) is type(found)


@pytest.mark.parametrize(
    ('value', 'hint'),
    [
        ('3', int),
        (3.0, int),
        (True, int),
        (True, float),
        ('3', float),
        (float('nan'), float),
        (float('inf'), float),
        (10**400, float),
        ('', Path),
        ('a\0b', Path),
        (1, bool),
        ('true', bool),
        (3, str),
        (None, str),
        (3, Path),
        ('12', tuple[str, ...]),
        (1, tuple[int, ...]),
        (['1'], tuple[int, ...]),
        ([['h1']], tuple[tuple[str, float], ...]),
        ([['h1', 1, 2]], tuple[tuple[str, float], ...]),
        (['h1'], tuple[tuple[str, float], ...]),
        ({'t1w': 'acq-x'}, Mapping[str, Mapping[str, Any]]),
    ],
)
def test_nothing_is_taken_for_another_type(value, hint):
    with pytest.raises((TypeError, ValueError)):
        convert(value, hint)


def test_a_setting_may_be_one_value_of_many():
    assert coerce('levels', 'group', tuple[str, ...]) == ('group',)
    with pytest.raises(InputError, match=r'^here: levels should be of type int, not .x.\.$'):
        coerce('levels', 'x', tuple[int, ...], where='here: ')


def test_did_you_mean():
    assert suggestion('Slurm', ['SLURM', 'PBS']) == " Did you mean 'SLURM'?"
    assert suggestion('zzz', ['SLURM', 'PBS']) == ' Known: SLURM, PBS.'
    assert closest('levls', ['levels', 'channels']) == 'levels'
    assert closest('zzz', ['levels']) is None


def test_spelling_on_the_command_line():
    assert option('mem_gb') == '--mem'
    assert option('omp_nthreads') == '--omp-nthreads'


@dataclass
class Some:
    count: int = 0
    names: tuple[str, ...] = ()


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('count = "two"', r'c\.toml: count should be of type int'),
        ('cuont = 2', r"c\.toml: there is no setting 'cuont'. Did you mean 'count'"),
        ('count = ', 'Cannot read the configuration file'),
    ],
)
def test_a_file_that_is_no_such_settings(tmp_path, text, message):
    (tmp_path / 'c.toml').write_text(text)
    with pytest.raises(InputError, match=message):
        read_fields(tmp_path / 'c.toml', Some)


def test_a_file_of_settings(tmp_path):
    (tmp_path / 'c.toml').write_text('count = 2\nnames = ["é"]\n')
    assert read_fields(tmp_path / 'c.toml', Some) == {'count': 2, 'names': ('é',)}


def test_a_file_of_windows_begins_with_a_mark_that_is_no_text(tmp_path):
    (tmp_path / 'c.toml').write_text('count = 2\n', encoding='utf-8-sig')
    assert load_toml(tmp_path / 'c.toml') == {'count': 2}
