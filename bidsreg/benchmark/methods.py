"""What can be compared: the presets of this package, the programs, and the affine alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bidsreg.benchmark.tasks import TASKS
from bidsreg.errors import InputError
from bidsreg.programs import PROGRAMS
from bidsreg.registration.presets import PRESETS
from bidsreg.translation.recipes import RECIPES, missing
from bidsreg.validation import suggestion

#: The common starting point, left as it is.
AFFINE = 'affine'
#: What a preset is called in its form for the brains of two people.
INTER = '-inter'
#: The preset that registers a translated image, by what its method's name has behind that of the translation.
AFTERWARDS: Mapping[str, str] = {'': 'node-lncc', '+mind': 'node-mind'}


@dataclass(frozen=True)
class Method:
    """One method of the benchmark: a preset, a program, a translation and then a preset, or the affine alone.

    Attributes
    ----------
    name : str
        Name of the preset or program that is run, or of the translation.
    asked : str
        Name that was asked for; another one where a preset takes its form for two people.
    translation : str
        How the moving image is translated before; empty where it is not.
    afterwards : str
        Name of the preset that registers a translated image.
    """

    name: str
    asked: str
    translation: str = ''
    afterwards: str = ''

    @property
    def registers(self) -> str:
        """Return what ``bidsreg-pair`` is asked for."""
        return self.afterwards or self.name

    @property
    def is_ours(self) -> bool:
        """Tell whether it is a preset of this package."""
        return self.name in PRESETS

    @property
    def is_peer(self) -> bool:
        """Tell whether it is there for comparisons only."""
        return bool(self.translation) or (self.name in PROGRAMS and PROGRAMS[self.name].peer)

    def device(self, wanted: str) -> str:
        """Return the device to ask it for: programs that know no GPU stay on the CPU."""
        return 'cpu' if self.name in PROGRAMS and not PROGRAMS[self.name].uses_gpu else wanted

    def missing(self) -> str:
        """Say why it cannot be run here and what helps; empty when it can."""
        if self.translation:
            return missing()
        return PROGRAMS[self.name].missing() if self.name in PROGRAMS else ''


def program_seconds(name: str, parts: Mapping[str, float]) -> float:
    """Return the seconds from two images to the fields of both directions.

    Parameters
    ----------
    name : str
        Name of the method.
    parts : mapping
        Seconds by part, as result.json has them: of a preset, `solve` and then `finish`, its inverse; of a program,
        `solve`, the program with its reading and writing (`finish` is what we do to judge it).
    """
    return parts['solve'] if name in PROGRAMS else parts['solve'] + parts['finish']


def known_methods() -> list[str]:
    """List every name that registers, but for translations."""
    return [AFFINE, *PRESETS, *PROGRAMS]


def known_translations() -> list[str]:
    """List every name that translates and then registers."""
    return [name + ending for ending in AFTERWARDS for name in RECIPES]


def resolve(name: str, task: str, option: str = '--methods') -> Method:
    """Look up what is run for a name: between people, presets take their ``-inter`` form where there is one.

    Raises
    ------
    InputError
        If there is no such method (the message suggests one), or it is none for the task.
    """
    if name in known_translations():
        if TASKS[task].is_rescan:
            raise InputError(f'{option} {name}: --task {task} has maps within one contrast, which nothing translates.')
        translation, plus, rest = name.partition('+')
        return Method(name, name, translation, _form(AFTERWARDS[plus + rest], task))
    if name not in known_methods():
        known = [*known_methods(), *known_translations()]
        raise InputError(f'{option} {name}: there is no such method.{suggestion(name, known)}')
    return Method(_form(name, task), name)


def _form(name: str, task: str) -> str:
    return name + INTER if TASKS[task].between_people and name + INTER in PRESETS else name


def resolve_all(names: Iterable[str], task: str) -> tuple[Method, ...]:
    """Look up several names.

    Raises
    ------
    InputError
        If there is none, one is unknown, or two mean the same.
    """
    found: dict[str, Method] = {}
    for name in names:
        method = resolve(name, task)
        if method.name in found:
            same = '' if name == found[method.name].asked else f' (the same as {found[method.name].asked} here)'
            raise InputError(f'--methods {name}: listed twice{same}.')
        found[method.name] = method
    if not found:
        raise InputError(f'--methods: name at least one of {", ".join(known_methods())}.')
    return tuple(found.values())


def note_on_forms(methods: Iterable[Method]) -> list[str]:
    """Say which presets were run in another form than they were asked for; empty where there is none."""
    asked = [method.asked for method in methods if method.name != method.asked]
    return [f'Run in the form for two people, whose name ends in {INTER}: {", ".join(asked)}.'] if asked else []


def usable(methods: Iterable[Method], *, skip_missing: bool) -> tuple[tuple[Method, ...], tuple[str, ...]]:
    """Leave out what cannot be run here, if that is allowed: programs that are only for comparisons always may be.

    Parameters
    ----------
    methods
        The methods that were asked for.
    skip_missing
        Whether any other may be left out, too.

    Returns
    -------
    methods, notes
        Those that can be run, and a line about each of the others.

    Raises
    ------
    InputError
        If a program is missing and must not be skipped, or nothing is left.
    """
    why = {method: method.missing() for method in methods}
    absent = [f'{method.name}: {reason}' for method, reason in why.items() if reason]
    needed = [f'{method.name}: {reason}' for method, reason in why.items() if reason and not method.is_peer]
    if needed and not skip_missing:
        raise InputError('; '.join(needed) + ' Or leave such methods out with --skip-missing.')
    left = tuple(method for method, reason in why.items() if not reason)
    if not left:
        raise InputError('None of the methods can be run here: ' + '; '.join(absent))
    return left, tuple(f'Left out, as it cannot be run here: {line}' for line in absent)
