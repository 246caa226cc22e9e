"""Tables of BIDS: rectangular, and no cell is a formula."""

from __future__ import annotations

import io
import math

import pandas as pd
import pytest

from bidsreg.errors import InputError
from bidsreg.tables import cell, parse_table, read_listing, to_tsv


@pytest.mark.parametrize(
    ('value', 'text'),
    [
        (None, 'n/a'),
        (math.nan, 'n/a'),
        ('', 'n/a'),
        (' \t ', 'n/a'),
        (True, 'true'),
        (-1.5, '-1.5'),
        (3, '3'),
        ('-1.5', '-1.5'),
        ('+3e4', '+3e4'),
        ('=1+1', "'=1+1"),
        ('@SUM(A1)', "'@SUM(A1)"),
        ('-cmd|x', "'-cmd|x"),
        ('+a', "'+a"),
        ('-inf', "'-inf"),
        ('\t=1', "'=1"),
        ('a\tb\nc\r\x0bd', 'a b c d'),
        ('say "x', "say 'x"),
        ('"=1"', "'=1'"),
        ('a\0b', 'a b'),
        ('sub-01', 'sub-01'),
    ],
)
def test_a_cell_is_one_line_and_no_formula(value, text):
    assert cell(value) == text


def test_a_table_is_read_as_it_was_written():
    rows = [['a', 'b'], ['x\ty', '"open'], ['=1', '\u2028 line']]
    text = to_tsv(rows)
    assert text == "a\tb\nx y\t'open\n'=1\tline\n"
    table = pd.read_csv(io.StringIO(text), sep='\t')
    assert table.shape == (2, 2)


def test_a_row_that_does_not_fit_is_an_error():
    with pytest.raises(ValueError, match='3 cells under a header of 2'):
        to_tsv([['a', 'b'], [1, 2, 3]])


def test_a_listing_is_texts_and_says_what_is_wrong(tmp_path):
    path = tmp_path / 'scans.tsv'
    path.write_text('image\tmask\n007.nii\tn/a\n', encoding='utf-8-sig')
    table = read_listing(path, 'scans')
    assert table['image'].tolist() == ['007.nii']
    assert table['mask'].isna().all()
    with pytest.raises(InputError, match='is not there; give a BIDS dataset or a table of scans'):
        read_listing(tmp_path / 'none.tsv', 'scans')
    path.write_bytes(b'')
    with pytest.raises(InputError, match=r'scans.tsv cannot be read as a table of scans'):
        read_listing(path, 'scans')


def test_cells_stay_under_their_headers_where_lines_end_in_tabs_or_are_short():
    table = parse_table('x\ty\n1\t2\t\t\n\n"3\t"\n')
    assert table.to_dict('records') == [{'x': '1', 'y': '2'}, {'x': '3\t', 'y': ''}]
    assert parse_table('x,y\n"1,0",2\n', ',').to_dict('records') == [{'x': '1,0', 'y': '2'}]
    assert parse_table('x\ty\n').shape == (0, 2)


@pytest.mark.parametrize('cell', ['"so called" rest', '5" slices', '"open'])
def test_a_quote_that_is_a_sign_like_others_costs_no_line(cell):
    assert parse_table(f'x\ty\n1\t{cell}\n2\tb\n').to_dict('records') == [{'x': '1', 'y': cell}, {'x': '2', 'y': 'b'}]


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        ('x\ty\n1\t2\n1\t2\t3\n', 'line 3 has 3 cells under a header of 2'),
        ('x\ty\n1\t2\t3\n1\t2\t3\n', 'line 2 has 3 cells under a header of 2'),
        ('x\ty\tx\n1\t2\t3\n', 'the column x twice'),
        ('x\ty\n"1\t2\n3\t4\t5\n', 'line 3 has 3 cells under a header of 2'),
        (f'x\ty\n{"1" * 200_000}\t2\n', 'line 2: field larger than field limit'),
        ('', 'no header'),
        ('\t\n1\t2\n', 'no header'),
    ],
)
def test_a_table_whose_cells_have_no_column_is_refused(content, words):
    with pytest.raises(ValueError, match=words):
        parse_table(content)
