"""The filter file of the user: which of the scans are wanted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bidsreg.bids.names import ENTITIES, NUMBERS
from bidsreg.bids.scans import Left, Scan
from bidsreg.errors import InputError
from bidsreg.settings import ANY, NONE
from bidsreg.validation import suggestion


def apply_filters(
    scans: list[Scan],
    filters: Mapping[str, Mapping[str, Any]],
    known: Iterable[str],
    contrasts: Sequence[str] = ('T1w', 'T2w'),
) -> tuple[list[Scan], list[Left]]:
    """Keep what the filter file asks for; whatever in it matches nothing is an error.

    Parameters
    ----------
    scans
        All scans.
    filters
        For the contrasts, in small letters (``t1w``, ``t2w``, ``flair``), the wanted values of entities.
    known
        The names of the entities that pybids knows.
    contrasts
        Those of the run.

    Returns
    -------
    kept, left
        The scans that are wanted, and the others with the reason.

    Raises
    ------
    InputError
        When a key, an entity or a value does not exist.
    """
    left: list[Left] = []
    for key, wanted in filters.items():
        suffix = {contrast.lower(): contrast for contrast in contrasts}.get(key.lower())
        if suffix is None:
            used = ' and '.join(contrast.lower() for contrast in contrasts)
            raise InputError(f'--bids-filter-file: the key {key!r} is not used here; {used} are.')
        candidates = [scan for scan in scans if scan.contrast == suffix]
        for entity, value in wanted.items():
            _check(key, entity, value, candidates, list(known))
        chosen = [scan for scan in candidates if all(_matches(scan, e, v) for e, v in wanted.items())]
        if not chosen:
            raise InputError(f'--bids-filter-file: no {suffix} matches all of {key!r} together.')
        dropped = [scan for scan in candidates if scan not in chosen]
        reason = f'--bids-filter-file: does not match {key} {_show(wanted)}'
        left += [scan.left(reason, filtered=True) for scan in dropped]
        scans = [scan for scan in scans if scan not in dropped]
    return scans, left


def _show(wanted: Mapping[str, Any]) -> str:
    return ', '.join(f'{entity}={value}' for entity, value in wanted.items())


def _check(key: str, entity: str, value: Any, candidates: list[Scan], known: list[str]) -> None:
    short = {label: name for name, label in ENTITIES.items()}
    if entity in short and short[entity] != entity:
        raise InputError(f'--bids-filter-file: {key}: write {short[entity]!r} for {entity!r}, as pybids does.')
    if entity not in known:
        raise InputError(f'--bids-filter-file: {key}: there is no entity {entity!r}.{suggestion(entity, known)}')
    for single in value if isinstance(value, list | tuple) else [value]:
        if not any(_matches(scan, entity, single) for scan in candidates):
            what = {NONE: 'null', ANY: '"*"'}.get(single, single) if isinstance(single, str) else single
            raise InputError(f'--bids-filter-file: {key}: {entity} = {what} matches no file.')


def _matches(scan: Scan, entity: str, value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(_matches(scan, entity, single) for single in value)
    fixed = {'suffix': scan.suffix, 'datatype': 'anat', 'extension': scan.extension}
    mine = fixed.get(entity, scan.entities.get(entity))
    if value in (NONE, None):
        return mine is None
    if value == ANY:
        return mine is not None
    value = str(value)
    same_number = mine is not None and mine.isdigit() and value.isdigit() and int(mine) == int(value)
    return mine == value or (entity in NUMBERS and same_number)
