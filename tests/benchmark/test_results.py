"""The tables of numbers, and the dictionary of their columns."""

from __future__ import annotations

import json

import pandas as pd

from bidsreg.benchmark.results import (
    COLUMNS,
    LABEL_COLUMNS,
    dictionary,
    labels_table,
    read_cells,
    results_table,
    write_tsv,
)
from bidsreg.bids.names import Contrasts


def test_every_column_is_described(results):
    described = dictionary()
    assert list(described) == list(results.columns)
    for key, entry in described.items():
        assert entry['LongName']
        assert entry['Description'].endswith('.')
        assert key in COLUMNS or entry['Units']


def test_the_images_are_described_by_their_contrasts():
    said = {key: entry['Description'] for key, entry in dictionary().items()}
    other = {key: entry['Description'] for key, entry in dictionary(Contrasts('T1w', 'FLAIR')).items()}
    assert (said['fixed'], said['moving']) == ('The T1w.', 'The T2w.')
    assert other == {**said, 'moving': 'The FLAIR.'}


def test_results_keep_numbers_numbers():
    table = results_table([{'pair': 'a', 'method': 'affine', 'status': 'failed', 'reason': 'no'}])
    assert pd.api.types.is_numeric_dtype(table['dice_mean'])
    assert table['dice_mean'].isna().all()


def test_labels_are_laid_out_one_a_row():
    cells = [
        {'pair': 'a', 'method': 'm', 'labels': {'17': {'dice': 0.5, 'hd95': None}, '99': {'dice': 1, 'hd95': 0}}},
        {'pair': 'b', 'method': 'm', 'labels': None},
        {'pair': 'c', 'method': 'm'},
    ]
    table = labels_table(cells, {17: 'Left-Hippocampus'})
    assert list(table.columns) == list(LABEL_COLUMNS)
    assert table['name'].tolist() == ['Left-Hippocampus', '']
    assert table['hd95'].isna().tolist() == [True, False]


def test_cells_that_cannot_be_read_are_not_there(tmp_path):
    (tmp_path / 'a.json').write_text('{"pair": "a"}')
    (tmp_path / 'b.json').write_text('{"pair":')
    assert read_cells(tmp_path / f'{name}.json' for name in 'abc') == [{'pair': 'a'}]


def test_a_table_says_what_its_columns_are(tmp_path):
    write_tsv(pd.DataFrame({'x': [1 / 3, None]}), {'x': {'Units': 'mm'}}, tmp_path / 'table.tsv')
    assert (tmp_path / 'table.tsv').read_text() == 'x\n0.333333\nn/a\n'
    assert json.loads((tmp_path / 'table.json').read_text()) == {'x': {'Units': 'mm'}}
