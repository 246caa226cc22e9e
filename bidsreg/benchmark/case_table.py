"""Pairs of a benchmark out of a table: one row each, with paths relative to the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bidsreg.benchmark.case import OPTIONAL, REQUIRED, SUBJECTS, Case
from bidsreg.errors import InputError
from bidsreg.tables import read_listing
from bidsreg.validation import suggestion


def read_table(path: Path) -> list[Case]:
    """Read a table of pairs.

    Parameters
    ----------
    path : Path
        TSV with the columns ``fixed`` and ``moving``, and any of :data:`OPTIONAL` and :data:`SUBJECTS`; paths are
        relative to the table, and an empty cell or ``n/a`` is none.

    Raises
    ------
    InputError
        If the table cannot be read, has wrong columns, no row, a pair twice, or a file that is not there.
    """
    table = read_listing(path, 'pairs')
    _check_columns(path, table)
    rows: list[dict[str, Any]] = [
        {
            # a person by two spellings would be two, and trained on who is judged
            role: cell.strip().removeprefix('sub-') if role in SUBJECTS else path.parent / cell
            for role, cell in row.items()
            if isinstance(cell, str)
        }
        for row in table.to_dict('records')
    ]
    if not rows:
        raise InputError(f'{path} lists no pair.')
    for line, row in enumerate(rows, start=2):
        for role in REQUIRED:
            if role not in row:
                raise InputError(f'{path}, line {line}: no {role} image is given.')
        for role, file in row.items():
            if role not in SUBJECTS and not file.is_file():
                raise InputError(f'{path}, line {line}: {role} {file} is not there.')
    _check_twice(path, rows)
    width = max(3, len(str(len(rows))))
    return [Case(name=f'pair-{number:0{width}d}', **row) for number, row in enumerate(rows, start=1)]


def _check_columns(path: Path, table: pd.DataFrame) -> None:
    known = (*REQUIRED, *OPTIONAL, *SUBJECTS)
    hint = f'The columns are {", ".join(REQUIRED)}, and any of {", ".join(known[2:])}, separated by tabs.'
    for name in REQUIRED:
        if name not in table:
            raise InputError(f'{path}: there is no column {name!r} (it has {", ".join(map(repr, table))}). {hint}')
    for name in table:
        if name not in known:
            raise InputError(f'{path}: the column {name!r} is not known.{suggestion(name, known)} {hint}')


def _check_twice(path: Path, rows: Sequence[Mapping[str, Path]]) -> None:
    seen: dict[tuple[Path, ...], int] = {}
    for line, row in enumerate(rows, start=2):
        pair = tuple(row[role].resolve() for role in REQUIRED)
        if pair in seen:
            raise InputError(f'{path}, line {line}: this pair is listed already in line {seen[pair]}.')
        if pair[0] == pair[1]:
            raise InputError(f'{path}, line {line}: fixed and moving are the same file, {pair[0]}.')
        seen[pair] = line
