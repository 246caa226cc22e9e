"""Tables as BIDS writes them: tabs, a line for each row, ``n/a`` where there is nothing; and no cell is a formula."""

from __future__ import annotations

import math
import typing
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bidsreg.errors import InputError

if typing.TYPE_CHECKING:
    import pandas as pd

NOTHING = 'n/a'
"""The text that BIDS wants where there is no value."""
_FORMULA = ('=', '+', '-', '@')
"""What spreadsheets take for the beginning of a formula."""


def to_tsv(rows: Iterable[Sequence[Any]]) -> str:
    """Return rows, the first of which is the header, as a table.

    Raises
    ------
    ValueError
        If a row has not as many cells as the header.
    """
    lines = [[cell(value) for value in row] for row in rows]
    for line in lines:
        if len(line) != len(lines[0]):
            raise ValueError(f'a row has {len(line)} cells under a header of {len(lines[0])}')
    return ''.join('\t'.join(line) + '\n' for line in lines)


def read_listing(path: Path, of: str) -> pd.DataFrame:
    """Read a table that a user lists files in; every cell is a text, and missing where it is empty or ``n/a``.

    Parameters
    ----------
    path
        Tab-separated values with a header.
    of
        The things that it lists, for messages.

    Raises
    ------
    InputError
        If the table is not there or cannot be read.
    """
    import pandas as pd

    try:
        return pd.read_csv(
            path, sep='\t', dtype=str, na_values=[NOTHING, ''], keep_default_na=False, encoding='utf-8-sig'
        )
    except FileNotFoundError as error:
        raise InputError(f'{path} is not there; give a BIDS dataset or a table of {of} (.tsv).') from error
    except (OSError, ValueError) as error:
        raise InputError(f'{path} cannot be read as a table of {of}: {error}') from error


def cell(value: Any) -> str:
    """Return a value as the text of a cell: one line without tabs and quotes, and no formula unless it is a number."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NOTHING
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    text = ' '.join(str(value).replace('"', "'").replace('\0', ' ').split()) or NOTHING
    return f"'{text}" if text.startswith(_FORMULA) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
