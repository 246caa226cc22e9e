"""Strict checking of typed settings, the same for the app, the benchmark and preset files.

A value is never taken for one of another type: no text for a number, no number for a flag. The only conversions are
those without loss: a whole number is a number, a list is a tuple, a text is a path.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import math
import os
import tomllib
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from bidsreg.errors import InputError


def convert(value: Any, hint: Any, *, wrap: bool = False) -> Any:
    """Bring a value to a type.

    Parameters
    ----------
    value
        What was given.
    hint
        ``bool``, ``int``, ``float`` (finite), ``str``, ``Path`` (made absolute), a tuple of one type and any
        length, a tuple of some types, a mapping of mappings, or one of these or None.
    wrap
        Take a single value for a tuple of one.

    Raises
    ------
    TypeError, ValueError
        If the value is not of this type.
    """
    arguments = typing.get_args(hint)
    if isinstance(hint, types.UnionType):  # X | None
        return None if value is None else convert(value, arguments[0], wrap=wrap)
    if typing.get_origin(hint) is tuple:
        return _convert_tuple(value, arguments, wrap)
    return _CONVERTERS[typing.get_origin(hint) or hint](value)


def _convert_tuple(value: Any, arguments: tuple[Any, ...], wrap: bool) -> tuple[Any, ...]:
    if isinstance(value, str | Path) or not isinstance(value, Iterable):
        if not wrap:
            raise TypeError
        value = (value,)
    if arguments[-1] is ...:
        return tuple(convert(item, arguments[0]) for item in value)
    return tuple(convert(item, kind) for item, kind in zip(value, arguments, strict=True))


def _exactly(kind: type) -> Callable[[Any], Any]:
    def take(value: Any) -> Any:
        if type(value) is not kind:
            raise TypeError
        return value

    return take


def _number(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError
    try:
        number = float(value)
    except OverflowError:  # a whole number of 400 digits
        raise TypeError from None
    if not math.isfinite(number):
        raise TypeError
    return number


def _path(value: Any) -> Path:
    if not isinstance(value, str | os.PathLike) or os.fspath(value) == '' or '\0' in os.fspath(value):
        raise TypeError
    return Path(os.path.abspath(os.path.expanduser(value)))


def _mappings(value: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(value, Mapping) or not all(isinstance(item, Mapping) for item in value.values()):
        raise TypeError
    return {key: dict(item) for key, item in value.items()}


_CONVERTERS: dict[Any, Callable[[Any], Any]] = {
    **{kind: _exactly(kind) for kind in (bool, int, str)},
    float: _number,
    Path: _path,
    Mapping: _mappings,
}


def field_types(cls: type) -> Mapping[str, Any]:
    """Return the type of every field of a dataclass, by its name."""
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def coerce(name: str, value: Any, hint: Any, where: str = '') -> Any:
    """Bring the value of a setting to its type, a single value to a tuple of one.

    Raises
    ------
    InputError
        If it is not of this type; the message begins with `where` and names the setting.
    """
    try:
        return convert(value, hint, wrap=True)
    except (TypeError, ValueError):
        raise InputError(f'{where}{name} should be of type {_type_name(hint)}, not {value!r}.') from None


def _type_name(hint: Any) -> str:
    """Name the type of one value: that of an entry for a tuple, that of what is given for X | None."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is tuple:
        return _type_name(typing.get_args(hint)[0])
    return getattr(hint, '__name__', str(hint))


def coerce_fields(settings: Any) -> None:
    """Bring all fields of a frozen dataclass to their types, in place; for its ``__post_init__``.

    Raises
    ------
    InputError
        At the first value that is not of its type.
    """
    for name, hint in field_types(type(settings)).items():
        object.__setattr__(settings, name, coerce(name, getattr(settings, name), hint))


def check_choices(settings: Any, choices: Mapping[str, Collection[str]]) -> None:
    """Raise :class:`InputError` unless each of these fields has one of its values, and a tuple nothing but such."""
    for name, known in choices.items():
        given = getattr(settings, name)
        for value in given if isinstance(given, tuple) else (given,):
            if value not in known:
                raise InputError(f'{option(name)} {value!r}: choose from {", ".join(known)}.')


def check_positive(settings: Any, names: Iterable[str]) -> None:
    """Raise :class:`InputError` when one of these numbers is there and not above zero."""
    for name in names:
        value = getattr(settings, name)
        if value is not None and not value > 0:
            raise InputError(f'{option(name)} must be above zero, not {value}.')


def check_within(settings: Any, name: str, least: float, most: float) -> None:
    """Raise :class:`InputError` unless a number lies between two others, or is one of them."""
    value = getattr(settings, name)
    if not least <= value <= most:
        raise InputError(f'{option(name)} must lie between {least} and {most}, not {value}.')


def as_path(text: str) -> Path:
    """Take an argument of a command line for a path, but not an empty one, which would mean the current folder.

    Raises
    ------
    argparse.ArgumentTypeError
        If it is empty, most often a variable of a script that is not set.
    """
    if not text:
        raise argparse.ArgumentTypeError('a path is needed, not an empty text')
    return Path(text)


def read_fields(path: str | os.PathLike[str], cls: type) -> dict[str, Any]:
    """Read a TOML file into keyword arguments of a dataclass.

    Raises
    ------
    InputError
        When the file is missing, is no TOML, or has a key that is no field or a value that is not of its type.
    """
    try:
        values = load_toml(path)
    except (OSError, ValueError) as error:
        raise InputError(f'Cannot read the configuration file {path}: {error}') from error
    known = field_types(cls)
    for key in values:
        if key not in known:
            raise InputError(f'{path}: there is no setting {key!r}.{suggestion(key, known)}')
    return {name: coerce(name, value, known[name], where=f'{path}: ') for name, value in values.items()}


def load_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a TOML file.

    Raises
    ------
    OSError, ValueError
        If it cannot be read, or is no TOML in UTF-8.
    """
    text = Path(path).read_text(encoding='utf-8-sig')  # Windows' editors put a mark before it
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError('it is nested too deeply') from None


def closest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that this one was most likely meant to be, whatever its case; None when none is close."""
    by_lower = {item.lower(): item for item in known}
    found = difflib.get_close_matches(word.lower(), by_lower, n=1)
    return by_lower[found[0]] if found else None


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return " Did you mean ...?" when a known word is close to this one, else the list of the known ones."""
    words = list(known)
    near = closest(word, words)
    return f' Did you mean {near!r}?' if near else f' Known: {", ".join(words)}.'


def option(name: str) -> str:
    """Return the spelling of a setting on the command line."""
    return {'mem_gb': '--mem'}.get(name, '--' + name.replace('_', '-'))
