"""Settings of a preset from the command line and from TOML, checked field by field. No torch here."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

from bidsreg.registration.presets import Preset, preset
from bidsreg.validation import closest, convert, field_types, load_toml

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
MAY_BE_EMPTY = ('loosened', 'loosened_levels', 'beside')
"""Lists that need no entry."""


@dataclass(frozen=True)
class Kind:
    """A type of values: the word for it in messages, and how it is read from text."""

    word: str
    read: Callable[[str], Any]


KINDS: dict[type, Kind] = {
    str: Kind('WORD', str.strip),
    bool: Kind('true or false', {'true': True, 'false': False}.__getitem__),
    int: Kind('INTEGER', int),
    float: Kind('NUMBER', float),
}


def _entry(hint: Any) -> tuple[type, ...]:
    """Return the types in one entry of a list, of pairs or of plain values; none for a single value."""
    if get_origin(hint) is not tuple:
        return ()
    inside = get_args(hint)[0]
    return get_args(inside) or (inside,)


def as_text(hint: Any) -> str:
    """Return how values of a type are written on a command line."""
    entry = _entry(hint)
    return ':'.join(KINDS[kind].word for kind in entry) + ',...' if entry else KINDS[hint].word


def as_toml(hint: Any) -> str:
    """Return how values of a type are written in TOML."""
    entry = _entry(hint)
    if not entry:
        return KINDS[hint].word
    words = ', '.join(KINDS[kind].word for kind in entry)
    return f'[{words}, ...]' if len(entry) == 1 else f'[[{words}], ...]'


def parsed(text: str, hint: Any) -> Any:
    """Read what stands on a command line, as TOML would have given it: ``4:40,2:30`` is a list of pairs.

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
    """Return a value as one of a field's type; no other is rounded or taken for it.

    Raises
    ------
    TypeError, ValueError
        If it is of another type, or a blank text.
    """
    found = convert(value, hint)
    if any(not word.strip() for word in _leaves(found, str)):
        raise ValueError
    return found


def _leaves(value: Any, kind: type | tuple[type, ...]) -> Iterator[Any]:
    """Yield what is of a type in a value, in tuples and tuples of tuples."""
    if isinstance(value, tuple):
        for part in value:
            yield from _leaves(part, kind)
    elif isinstance(value, kind):
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
    least = min(_leaves(value, (int, float)), default=1)
    if least < 0 or (least == 0 and name in POSITIVE):
        raise ValueError(f'{name}: must {"be above zero" if name in POSITIVE else "not be negative"}, not {least:g}')


def _replaced(
    base: Preset, values: Mapping[str, Any], read: Callable[[Any, Any], Any], form: Callable[[Any], str]
) -> Preset:
    known = field_types(Preset)
    new: dict[str, Any] = {}
    for name, given in values.items():
        if name not in known:
            near = closest(name, known)
            advice = f"did you mean '{near}'?" if near else f'there are {", ".join(known)}'
            raise ValueError(f"a preset has no field '{name}'; {advice}")
        try:
            new[name] = checked(read(given, known[name]), known[name])
        except (TypeError, ValueError, LookupError):
            raise ValueError(f'{name}: {form(known[name])} is needed, not {given!r}') from None
        _check_range(name, new[name])
    return dataclasses.replace(base, **new)


def updated(base: Preset, values: Mapping[str, str]) -> Preset:
    """Return a preset with some fields given as text, as on a command line.

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
    """Return a preset with the fields that a TOML file gives, at its top level.

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
        values = load_toml(path)
        if BASE in values:
            base = preset(str(values.pop(BASE)))
        return _replaced(base, values, lambda value, _: value, as_toml)
    except FileNotFoundError:
        raise ValueError(f'{path}: there is no such file') from None
    except (OSError, ValueError) as error:
        raise ValueError(f'{path}: {error}') from error
