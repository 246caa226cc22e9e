"""The spaces that people are normalised to, as a command line asks for them in the words of fMRIPrep."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bidsreg.errors import InputError

#: The space that needs no download: nilearn ships its template.
EMBEDDED = 'MNI152NLin2009aSym'
#: Other names of spaces, and what they mean.
ALIASES = {'MNI': EMBEDDED}
#: Spaces of fMRIPrep that are no template to normalise to, and what they are.
NO_TEMPLATES = {
    **dict.fromkeys(
        ('anat', 'T1w', 'T2w', 'run', 'func', 'bold', 'boldref', 'sbref', 'individual'),
        "a person's own space: what lies there is always written",
    ),
    **dict.fromkeys(('fsnative', 'fsaverage', 'fsaverage5', 'fsaverage6', 'fsLR', 'onavg'), 'a surface, not a volume'),
}
_NAME = re.compile(r'[A-Za-z0-9]+')
_NUMBERED = re.compile(r'(res|cohort)-(.*)')


@dataclass(frozen=True)
class Space:
    """A space to normalise to, and the grids in it that are wanted.

    Parameters
    ----------
    name
        As it stands behind ``space-`` in names: TemplateFlow's, or the user's for a template of one's own.
    cohort
        Of a template that has several.
    resolutions
        Wanted grids, as TemplateFlow numbers them; empty for the template's own, which has no ``res-`` in names.
    path, mask
        Of a template of one's own: its image, and its brain mask where one was named.
    """

    name: str
    cohort: int | None = None
    resolutions: tuple[int, ...] = ()
    path: Path | None = None
    mask: Path | None = None

    @property
    def label(self) -> str:
        """The space as it stands behind ``from-`` and ``to-``: a cohort follows a plus sign, as fMRIPrep has it."""
        return self.name if self.cohort is None else f'{self.name}+{self.cohort}'

    def entities(self, resolution: int | None = None) -> dict[str, str]:
        """Return pybids' entities of an image on one of the grids of the space."""
        values = {'space': self.name, 'cohort': self.cohort, 'resolution': resolution}
        return {key: str(value) for key, value in values.items() if value is not None}

    @property
    def grids(self) -> tuple[int | None, ...]:
        """The wanted grids; None for the template's own."""
        return self.resolutions or (None,)


def parse_spaces(words: Iterable[str]) -> tuple[Space, ...]:
    """Read spaces as ``--output-spaces`` takes them; the same template twice is one space with the grids of both.

    A word is ``NAME[:cohort-N]...[:res-N]...``, or ``NAME:IMAGE[:MASK][:res-N]...`` for a template of one's own.
    Several cohorts are several spaces.

    Raises
    ------
    InputError
        If a word is of another form, names no template, or one name means two templates.
    """
    found: dict[tuple[str, int | None], Space] = {}
    for word in words:
        for space in _parse(word):
            key = space.name, space.cohort
            known = found.setdefault(key, space)
            if (known.path, known.mask) != (space.path, space.mask):
                raise InputError(f'--output-spaces: {space.name} is the name of two templates: give each its own.')
            both = dict.fromkeys([*known.grids, *space.grids])
            if None in both and len(both) > 1:
                raise InputError(
                    f'--output-spaces: {space.name} is asked for with and without res-: name all resolutions.'
                )
            found[key] = replace(known, resolutions=tuple(number for number in both if number is not None))
    return tuple(found.values())


def _parse(word: str) -> list[Space]:
    name, *parts = word.split(':')
    name = ALIASES.get(name, name)
    if name in NO_TEMPLATES:
        raise InputError(f'--output-spaces {word}: {name} is {NO_TEMPLATES[name]}.')
    if not _NAME.fullmatch(name):
        raise InputError(f'--output-spaces {word}: the name of a space has letters and digits only, not {name!r}.')
    numbers: dict[str, list[int]] = {'res': [], 'cohort': []}
    paths: list[str] = []
    for part in parts:
        if numbered := _NUMBERED.fullmatch(part):
            numbers[numbered[1]].append(_number(word, part, numbered[2]))
        else:
            paths.append(part)
    if '' in paths or len(paths) > 2:
        raise InputError(f'--output-spaces {word}: write NAME[:cohort-N][:res-N], or NAME:IMAGE[:MASK][:res-N].')
    if paths and numbers['cohort']:
        raise InputError(f'--output-spaces {word}: a template of your own has no cohorts.')
    if paths and name == EMBEDDED:
        raise InputError(f'--output-spaces {word}: {name} is a known template; give yours another name.')
    return _spaces(name, numbers, [Path(path).expanduser().absolute() for path in paths])


def _spaces(name: str, numbers: dict[str, list[int]], paths: Sequence[Path]) -> list[Space]:
    resolutions = tuple(dict.fromkeys(numbers['res']))
    path, mask = [*paths, None, None][:2]
    return [Space(name, cohort, resolutions, path, mask) for cohort in dict.fromkeys(numbers['cohort']) or (None,)]


def _number(word: str, part: str, text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 100:
        raise InputError(f'--output-spaces {word}: {part} should end in a number from 1 to 99.')
    return int(text)
