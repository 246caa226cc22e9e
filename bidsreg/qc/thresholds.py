"""The thresholds of the verdicts: the package's own, and over them those of a user."""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from bidsreg.errors import InputError
from bidsreg.validation import load_toml, suggestion

STATUSES = ('PASS', 'CHECK', 'FAIL')
"""From good to bad: a pair is as bad as its worst check."""


@dataclass(frozen=True)
class Threshold:
    """The two values of a number at which its verdict turns.

    Attributes
    ----------
    check, fail : float
        From where on a pair is to be looked at, and from where on it is to be rejected; the threshold itself is good.
    way : {'above', 'below'}
        On which side of them the bad values lie.
    """

    check: float
    fail: float
    way: str

    def status(self, value: float) -> str:
        """Return PASS, CHECK or FAIL for a value; one that is not a number is to be looked at."""
        if math.isnan(value):
            return 'CHECK'
        sign = 1 if self.way == 'above' else -1
        return STATUSES[(sign * value > sign * self.check) + (sign * value > sign * self.fail)]

    def __str__(self) -> str:
        return f'CHECK {self.way} {self.check:g}, FAIL {self.way} {self.fail:g}'


#: The files of the package's own thresholds, by what they judge.
FAMILIES = {'pair': 'thresholds.toml', 'normalisation': 'normalisation.toml'}


def read_thresholds(path: str | os.PathLike | None = None, family: str = 'pair') -> dict[str, Threshold]:
    """Read the package's thresholds, and over them those of a file, which may have those of every family.

    Parameters
    ----------
    path : path, optional
        TOML, one table for each check with ``check_above`` and ``fail_above``, or ``check_below`` and ``fail_below``;
        what it leaves out stays as the package has it.
    family : str, optional
        A key of :data:`FAMILIES`; every check of it has thresholds.

    Raises
    ------
    InputError
        When the file cannot be read, names what there is not, holds something else than numbers, or fails before it
        checks.
    """
    folder = resources.files('bidsreg.qc')
    tables = {name: tomllib.loads(folder.joinpath(file).read_text(encoding='utf-8')) for name, file in FAMILIES.items()}
    known = {name: table for own_tables in tables.values() for name, table in own_tables.items()}
    own = {} if path is None else _read(path)
    for name in own:
        if name not in known:
            raise InputError(f'--qc-thresholds {path}: there is no check {name!r}.{suggestion(name, known)}')
        _check_table(own[name], known[name], f'--qc-thresholds {path}: [{name}]')
    return {name: _threshold({**known[name], **own.get(name, {})}, f'{path}: [{name}]') for name in tables[family]}


def _read(path: str | os.PathLike) -> dict[str, Any]:
    try:
        return load_toml(path)
    except (OSError, ValueError) as error:
        raise InputError(f'--qc-thresholds {path} cannot be read: {error}') from error


def _check_table(table: Any, usual: Mapping[str, float], where: str) -> None:
    if not isinstance(table, dict):
        raise InputError(f'{where}: write a table with {" and ".join(usual)}, not {table!r}.')
    for key, value in table.items():
        if key not in usual:
            raise InputError(f'{where} has no {key!r}.{suggestion(key, usual)}')
        if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
            raise InputError(f'{where}: {key} must be a number (inf or -inf: never), not {value!r}.')


def _threshold(table: Mapping[str, float], where: str) -> Threshold:
    way = 'above' if 'check_above' in table else 'below'
    check, fail = float(table[f'check_{way}']), float(table[f'fail_{way}'])
    if (check > fail) if way == 'above' else (check < fail):
        raise InputError(
            f'--qc-thresholds {where}: it would fail before it checks (check_{way} = {check:g}, fail_{way} = {fail:g}).'
        )
    return Threshold(check, fail, way)
