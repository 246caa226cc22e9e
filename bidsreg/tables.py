"""Tables as BIDS writes them: tabs, a line for each row, ``n/a`` where there is nothing; and no cell is a formula."""

from __future__ import annotations

import csv
import io
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


def parse_table(content: str, separator: str = '\t') -> pd.DataFrame:
    """Take a table apart; every cell is a text, and empty where a row is short.

    Readers that guess take a longer row for one with a name in front, and read every cell under its neighbour's header.

    Parameters
    ----------
    content
        Lines of cells, the first one the header; what is in double quotes is one cell, where all quotes are so meant.
    separator
        Between two cells.

    Raises
    ------
    ValueError
        If there is no header, it names a column twice, or a row has something beyond its last column.
    """
    import pandas as pd

    lines = _lines(content, separator, quoted=quotes_enclose(content, separator))
    header, *rows = lines or [(1, [])]
    columns = header[1]
    if not any(columns):
        raise ValueError('it has no header')
    if twice := [name for name in dict.fromkeys(columns) if columns.count(name) > 1]:
        raise ValueError(f'it has the column {twice[0]} twice')
    width = len(columns)
    for line, row in rows:
        if any(row[width:]):
            raise ValueError(f'line {line} has {len(row)} cells under a header of {width}')
    cells = [[*row[:width], *[''] * (width - len(row))] for _, row in rows]
    return pd.DataFrame(cells, columns=columns, dtype=str)


def quotes_enclose(content: str, separator: str = '\t') -> bool:
    """Tell whether the double quotes of a table enclose cells, and are no signs like others, as in 5" tips."""
    try:
        _lines(content, separator, quoted=True)
    except ValueError:
        return False
    return True


def _lines(content: str, separator: str, *, quoted: bool) -> list[tuple[int, list[str]]]:
    """Return the cells of each line that has some, with the number of the line; `quoted` gives quotes their meaning."""
    ways = {'strict': True} if quoted else {'quoting': csv.QUOTE_NONE}
    reader = csv.reader(io.StringIO(content, newline=''), delimiter=separator, **ways)
    try:
        return [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        raise ValueError(f'line {reader.line_num}: {error}') from error


def table_text(table: pd.DataFrame, separator: str, *, enclosing: bool) -> str:
    """Return a table whose cells are texts as :func:`parse_table` reads it.

    Parameters
    ----------
    table
        As :func:`parse_table` returns it.
    separator
        Between two cells.
    enclosing
        As :func:`quotes_enclose` says of the text that it was read from; no cell gets quotes that it does not need.
    """

    def written(value: str) -> str:
        needed = enclosing and (value.startswith('"') or any(sign in value for sign in (separator, '\n', '\r')))
        return '"{}"'.format(value.replace('"', '""')) if needed else value

    lines = [list(table), *table.to_numpy().tolist()]
    return ''.join(separator.join(map(written, line)) + '\n' for line in lines)


def read_table(path: Path) -> pd.DataFrame:
    """Read a table of tab-separated values as :func:`parse_table` does.

    Raises
    ------
    OSError, ValueError
        If it cannot be read; the latter also for what is no UTF-8.
    """
    return parse_table(path.read_text(encoding='utf-8-sig'))


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
    try:
        table = read_table(path)
    except FileNotFoundError as error:
        raise InputError(f'{path} is not there; give a BIDS dataset or a table of {of} (.tsv).') from error
    except (OSError, ValueError) as error:
        raise InputError(f'{path} cannot be read as a table of {of}: {error}') from error
    return table.mask(table.isin([NOTHING, '']))


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
