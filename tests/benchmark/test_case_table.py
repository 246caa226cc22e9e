"""Pairs out of a table, and everything that can be wrong with it."""

from __future__ import annotations

import pytest

from bidsreg.benchmark.case_table import read_table
from bidsreg.errors import InputError

from .conftest import lines_of, write_tsv


def test_table_is_read_relative_to_itself(table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one, two = read_table(table)
    assert (one.name, two.name) == ('pair-001', 'pair-002')
    assert one.fixed == table.parent / '0' / 'fixed.nii.gz'
    assert one.moving_labels == table.parent / '0' / 'moving_labels.nii.gz'
    assert one.has_labels
    assert one.points is not None


def test_empty_cells_and_na_are_none(table):
    columns, first, second = lines_of(table)
    first[columns.index('points')], second[columns.index('moving_mask')] = 'n/a', ''
    write_tsv(table, columns, [first, second])
    one, two = read_table(table)
    assert one.points is None
    assert two.moving_mask is None
    assert two.points is not None


def test_a_person_by_two_spellings_is_one(table):
    columns, first, second = lines_of(table)
    write_tsv(table, [*columns, 'fixed_subject', 'moving_subject'], [[*first, '01', '02'], [*second, 'sub-02', ' 01']])
    one, two = read_table(table)
    assert one.heads == {'fixed': '01', 'moving': '02'}
    assert two.heads == {'fixed': '02', 'moving': '01'}


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda columns, rows: columns.__setitem__(1, 'floating'), "no column 'moving'"),
        (lambda columns, rows: columns.__setitem__(2, 'fixed_label'), r"'fixed_label' is not known\. Did you mean '"),
        (lambda columns, rows: rows[1].__setitem__(3, 'nowhere.nii'), r'line 3: moving_labels .*nowhere\.nii is not'),
        (lambda columns, rows: rows[0].__setitem__(0, ''), 'line 2: no fixed image'),
        (lambda columns, rows: rows.append(rows[0]), 'line 4: this pair is listed already in line 2'),
        (lambda columns, rows: rows[0].__setitem__(1, rows[0][0]), 'the same file'),
        (lambda columns, rows: rows.clear(), 'lists no pair'),
    ],
)  # fmt:skip
def test_bad_tables_are_refused(table, change, message):
    columns, *rows = lines_of(table)
    change(columns, rows)
    write_tsv(table, columns, rows)
    with pytest.raises(InputError, match=message) as raised:
        read_table(table)
    assert str(table) in str(raised.value)


def test_a_pair_listed_twice_under_two_names_is_found(table):
    columns, first, _ = lines_of(table)
    write_tsv(table, columns, [first, ['./' + first[0], '../my data/' + first[1], *first[2:]]])
    with pytest.raises(InputError, match='listed already'):
        read_table(table)


def test_commas_are_no_tabs(table):
    table.write_text(table.read_text().replace('\t', ','))
    with pytest.raises(InputError, match="no column 'fixed'"):
        read_table(table)
