"""The cells of a benchmark laid out as tables of numbers: one row per pair and method, and one per label of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from bidsreg.benchmark.files import write_json
from bidsreg.benchmark.measures import MEASURES
from bidsreg.bids.names import T2W_TO_T1W, Contrasts
from bidsreg.registration.atomic import write_text
from bidsreg.tables import cell

#: What is known of every cell beside its measures: column, long name and description, with places for the contrasts.
COLUMNS = {
    'pair': ('Pair', 'Name of the pair.'),
    'fixed': ('Fixed image', 'The {fixed}.'),
    'moving': ('Moving image', 'The {moving}.'),
    'method': ('Method', 'What was run; "affine" is the prealignment alone.'),
    'status': ('Status', 'How it ended.'),
    'reason': ('Reason', 'Why it failed.'),
    'threads': ('Threads', 'Threads that the method was given.'),
    'device': ('Device', 'Where it ran.'),
}
LEVELS = {'status': {'done': 'The method ran and was judged.', 'failed': 'It did not; see the reason.'}}
LABEL_COLUMNS = {
    'pair': {'LongName': 'Pair', 'Description': 'Name of the pair.'},
    'method': {'LongName': 'Method', 'Description': 'What was run.'},
    'label': {'LongName': 'Label', 'Description': 'Value of the label.'},
    'name': {'LongName': 'Structure', 'Description': 'Name of the label.'},
    'dice': {'LongName': 'Dice coefficient', 'Description': 'Overlap; n/a: an image lacks the label.', 'Units': '1'},
    'hd95': {
        'LongName': 'Hausdorff distance, 95th percentile',
        'Description': 'The larger of both directions, between surface voxels; n/a: an image lacks the label.',
        'Units': 'mm',
    },
}


def read_cells(paths: Iterable[Path]) -> list[dict[str, Any]]:
    """Read the cells that are there; what cannot be read counts as not there."""
    cells = (read_cell(path) for path in paths)
    return [cell for cell in cells if cell is not None]


def read_cell(path: Path) -> dict[str, Any] | None:
    """Read one cell; ``None`` when there is none or it cannot be read."""
    try:
        return json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return None


def results_table(cells: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Lay cells out as one row each.

    Returns
    -------
    DataFrame
        The columns of :data:`COLUMNS` and one for every measure; NaN where it is not known.
    """
    columns = [*COLUMNS, *(measure.key for measure in MEASURES)]
    table = pd.DataFrame([{key: cell.get(key) for key in columns} for cell in cells], columns=columns)
    keys = [measure.key for measure in MEASURES]
    table[keys] = table[keys].apply(pd.to_numeric)
    return table


def labels_table(cells: Iterable[Mapping[str, Any]], names: Mapping[int, str]) -> pd.DataFrame:
    """Lay the labels of cells out as one row each.

    Returns
    -------
    DataFrame
        The columns of :data:`LABEL_COLUMNS`.
    """
    rows = [
        (cell['pair'], cell['method'], int(label), names.get(int(label), ''), values['dice'], values['hd95'])
        for cell in cells
        for label, values in (cell.get('labels') or {}).items()
    ]
    table = pd.DataFrame(rows, columns=list(LABEL_COLUMNS))
    table[['dice', 'hd95']] = table[['dice', 'hd95']].apply(pd.to_numeric)
    return table


def dictionary(contrasts: Contrasts = T2W_TO_T1W) -> dict[str, dict[str, Any]]:
    """Describe the columns of the results of pairs of these contrasts, as BIDS has it."""
    out: dict[str, dict[str, Any]] = {
        key: {'LongName': name, 'Description': contrasts.fill(text)} for key, (name, text) in COLUMNS.items()
    }
    for key, levels in LEVELS.items():
        out[key]['Levels'] = levels
    for measure in MEASURES:
        out[measure.key] = {'LongName': measure.long_name, 'Description': measure.description, 'Units': measure.units}
    return out


def write_tsv(table: pd.DataFrame, described: Mapping[str, Any], path: Path) -> None:
    """Write a table and, beside it, the dictionary of its columns."""
    clean = table.map(lambda value: cell(value) if isinstance(value, str) else value)
    write_text(path, clean.to_csv(sep='\t', index=False, na_rep='n/a', float_format='%.6g'))
    write_json(path.with_suffix('.json'), described)
