"""Settings of a preset from the command line and from TOML, checked field by field. No torch here."""

from __future__ import annotations

import dataclasses
import difflib
import math
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from bidsreg.registration.presets import Preset, preset

BASE = 'base'
"""Key of a preset file that names the preset it starts from; no field of its own."""
POSITIVE = (
    'levels',
    'time_steps',
    'time_knots',
    'tolerance',
    'velocity_spacing',
    'kernel_power',
    'learning_rate',
    'channels',
)
"""Fields in which zero makes no sense; below zero nothing does."""
MAY_BE_EMPTY = ('loosened',)
"""Lists that need no entry."""


@dataclass(frozen=True)
class Kind:
    """A type of values: what it is called, how it is read from text, and which Python values are of it."""

    word: str
    read: Callable[[str], Any]
    holds: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


KINDS: dict[type, Kind] = {
    str: Kind('WORD', str.strip, lambda value: isinstance(value, str) and bool(value.strip())),
    bool: Kind('true or false', {'true': True, 'false': False}.__getitem__, lambda value: isinstance(value, bool)),
    int: Kind('INTEGER', int, lambda value: isinstance(value, int) and not isinstance(value, bool)),
    float: Kind('NUMBER', float, _is_number),
}


@cache
def hints() -> Mapping[str, Any]:
    """The type of every field of a preset."""
    types = get_type_hints(Preset)
    return {field.name: types[field.name] for field in dataclasses.fields(Preset)}


def _entry(hint: Any) -> tuple[type, ...]:
    """The types in one entry of a list, of pairs or of plain values; none for a single value."""
    if get_origin(hint) is not tuple:
        return ()
    inside = get_args(hint)[0]
    return get_args(inside) or (inside,)


def as_text(hint: Any) -> str:
    """How values of a type are written on a command line."""
    entry = _entry(hint)
    return ':'.join(KINDS[kind].word for kind in entry) + ',...' if entry else KINDS[hint].word


def as_toml(hint: Any) -> str:
    """How values of a type are written in TOML."""
    entry = _entry(hint)
    if not entry:
        return KINDS[hint].word
    words = ', '.join(KINDS[kind].word for kind in entry)
    return f'[{words}, ...]' if len(entry) == 1 else f'[[{words}], ...]'


def parsed(text: str, hint: Any) -> Any:
    """What stands on a command line, as TOML would have given it: ``4:40,2:30`` for a list of pairs, nothing for none.

    Raises
    ------
    LookupError, ValueError
        If it cannot be read.
    """
    entry = _entry(hint)
    if not entry:
        return KINDS[hint].read(text)
    rows = [part.split(':') for part in text.split(',')] if text.strip() else []
    values = [[KINDS[kind].read(word) for kind, word in zip(entry, row, strict=True)] for row in rows]
    return [row[0] for row in values] if len(entry) == 1 else values


def checked(value: Any, hint: Any) -> Any:
    """A value as one of a field's type; no other is rounded or taken for it.

    Raises
    ------
    TypeError, ValueError
        If it is none.
    """
    entry = _entry(hint)
    if len(entry) == 1:
        return tuple(checked(x, entry[0]) for x in value)
    if entry:
        return tuple(tuple(checked(x, kind) for kind, x in zip(entry, row, strict=True)) for row in value)
    if not KINDS[hint].holds(value):
        raise TypeError
    return hint(value)


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, tuple):
        for part in value:
            yield from _numbers(part)
    elif isinstance(value, (int, float)):
        yield value


def _check_range(name: str, value: Any) -> None:
    """Refuse what no preset can work with.

    Raises
    ------
    ValueError
        If a list is empty or a number below zero, or zero where that makes no sense.
    """
    if value == () and name not in MAY_BE_EMPTY:
        raise ValueError(f'{name}: at least one entry is needed')
    least = min(_numbers(value), default=1)
    if least < 0 or (least == 0 and name in POSITIVE):
        raise ValueError(f'{name}: must {"be above zero" if name in POSITIVE else "not be negative"}, not {least:g}')


def _replaced(base: Preset, values: Mapping[str, Any], read: Callable[[Any, Any], Any], form: Any) -> Preset:
    known = hints()
    new = {}
    for name, given in values.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            advice = f"did you mean '{near[0]}'?" if near else f'there are {", ".join(known)}'
            raise ValueError(f"a preset has no field '{name}'; {advice}")
        try:
            new[name] = checked(read(given, known[name]), known[name])
        except (TypeError, ValueError, LookupError):
            raise ValueError(f'{name}: {form(known[name])} is needed, not {given!r}') from None
        _check_range(name, new[name])
    return dataclasses.replace(base, **new)


def updated(base: Preset, values: Mapping[str, str]) -> Preset:
    """A preset with some fields given as text, as on a command line.

    Parameters
    ----------
    base : Preset
        What the other fields are taken from.
    values : mapping of str to str
        Text by field: ``{'learning_rate': '0.01', 'levels': '4:40,2:30', 'regularity': 'h1:1,divergence:0.5'}``.

    Raises
    ------
    ValueError
        If there is no such field (the message suggests one), or a text is no sensible value of it.
    """
    return _replaced(base, values, parsed, as_text)


def from_toml(path: str | Path, base: Preset) -> Preset:
    """A preset with the fields that a TOML file gives, at its top level.

    Parameters
    ----------
    path : str or Path
        The file: ``learning_rate = 0.01``, ``levels = [[4, 40], [2, 30]]``, ``regularity = [["h1", 1.0]]``. A key
        ``base = "node-mind"`` names the preset that the other fields are taken from.
    base : Preset
        What they are taken from where the file does not say.

    Raises
    ------
    ValueError
        If the file cannot be read or is no TOML, or as for `updated`. The message begins with the path.
    """
    path = Path(path)
    try:
        values = tomllib.loads(path.read_text(encoding='utf-8'))
        if BASE in values:
            base = preset(str(values.pop(BASE)))
        return _replaced(base, values, lambda value, _: value, as_toml)
    except FileNotFoundError:
        raise ValueError(f'{path}: there is no such file') from None
    except (OSError, ValueError) as error:
        raise ValueError(f'{path}: {error}') from error
