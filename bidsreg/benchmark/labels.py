"""Lists of labels: those that count, and the names of their structures."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from bidsreg.errors import InputError
from bidsreg.tables import read_table

#: The 32 labels of SynthSeg, in FreeSurfer's numbers and words.
DEFAULT = Path(__file__).with_name('labels.tsv')
COLUMNS = ['index', 'name']

_SIDE = re.compile(r'^(left|right|lh|rh|l|r)[-_. ]+|[-_. ]+(left|right|lh|rh|l|r)$', re.IGNORECASE)


def read_label_list(path: Path | None = None) -> dict[int, str]:
    """Read a list of labels.

    Parameters
    ----------
    path : Path, optional
        A TSV file with the columns ``index`` and ``name``, as BIDS has beside a ``dseg``; others are passed over.
        Default: the 32 labels of SynthSeg.

    Returns
    -------
    dict
        Names by value, in the order of the file.

    Raises
    ------
    InputError
        If the file cannot be read, lacks a column, is empty, names the background, or has a value or a name twice.
    """
    path = DEFAULT if path is None else path
    try:
        table = read_table(path)
    except (OSError, ValueError) as error:
        raise InputError(f'--labels {path} cannot be read as a table: {error}') from error
    lacking = [name for name in COLUMNS if name not in table]
    if lacking:
        raise InputError(
            f'--labels {path}: there is no column {lacking[0]!r} (it has {", ".join(table)}); '
            'columns are separated by tabs.'
        )
    values = pd.to_numeric(table['index'], errors='coerce')
    if not len(table) or values.isna().any() or (values < 1).any() or (values % 1 != 0).any():
        raise InputError(f'--labels {path}: "index" must hold whole numbers above zero, one in each row at least.')
    for column, cells in (('index', values.astype(int)), ('name', table['name'])):
        twice = cells[cells.duplicated()].tolist()
        if twice:
            raise InputError(f'--labels {path}: {column} {twice[0]!r} is listed twice.')
    return dict(zip(values.astype(int), table['name'], strict=True))


def structure(name: str) -> str:
    """Return the name of a structure without its side of the brain.

    >>> structure('Left-Thalamus'), structure('Brain-Stem'), structure('thalamus_R')
    ('Thalamus', 'Brain-Stem', 'thalamus')
    """
    return _SIDE.sub('', name) or name


def by_structure(names: Mapping[int, str]) -> dict[int, str]:
    """Return the structure of every label."""
    return {value: structure(name) for value, name in names.items()}
