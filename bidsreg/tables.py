"""Tables as BIDS writes them: tabs, a line for each row, ``n/a`` where there is nothing; and no cell is a formula."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

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
