"""Where templates come from: a small family with one door, :func:`find_template`.

The files of TemplateFlow are told by their names, not by asking its client, which on its import fills the folder with
empty files and takes some seconds to index it; empty files are what it leaves where nothing was downloaded. What is
missing :mod:`.fetch` asks the client for.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from bidsreg.bids.nifti import MGH
from bidsreg.bids.scans import EXTENSIONS
from bidsreg.bids.spaces import EMBEDDED, Space
from bidsreg.errors import InputError
from bidsreg.validation import suggestion


class MissingTemplateError(InputError):
    """A template of TemplateFlow is not there, or not all of it: its client may be able to get it.

    Parameters
    ----------
    problem
        What is missing.
    remedy
        How to get it; the message is both.
    """

    def __init__(self, problem: str, remedy: str = '') -> None:
        super().__init__(f'{problem} {remedy}'.rstrip())
        self.problem = problem


#: How the names of images end.
ENDINGS = (*EXTENSIONS, *MGH)
#: Contrasts of templates, the better first.
CONTRASTS = ('T1w', 'T2w')
#: The widest voxels of a grid that is made of a template's own, in voxels of it.
WIDEST = 4


@dataclass(frozen=True)
class TemplateFiles:
    """The files of one template.

    Attributes
    ----------
    image, mask
        The image that people are registered to, and its brain mask; without a mask, that is to be made.
    contrast
        ``T1w`` or ``T2w``; empty where that is not known.
    grids
        An image on each grid that is not the template's own, by its number; None where the grid is to be made: its
        voxels are so many times as wide.
    origin
        Words that say where the template comes from.
    """

    image: Path
    mask: Path | None
    contrast: str
    origin: str
    grids: Mapping[int, Path | None] = field(default_factory=dict)

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files of it."""
        return tuple(filter(None, (self.image, self.mask, *self.grids.values())))


class TemplateSource(ABC):
    """A place where templates come from."""

    @abstractmethod
    def has(self, space: Space) -> bool:
        """Tell whether a space is one of this place."""

    @abstractmethod
    def find(self, space: Space, home: Path) -> TemplateFiles:
        """Return the files of a space.

        Parameters
        ----------
        space
            One that this place has.
        home
            The folder of TemplateFlow.

        Raises
        ------
        InputError
            If something is missing; the message says how to get it.
        """


def _made_grids(space: Space) -> dict[int, Path | None]:
    for number in space.resolutions:
        if number > WIDEST:
            raise InputError(
                f'--output-spaces {space.name}:res-{number}: {space.name} has the resolutions 1 (its own voxels) to '
                f'{WIDEST} (voxels {WIDEST} times as wide).'
            )
    return {number: None for number in space.resolutions if number > 1}


class EmbeddedTemplate(TemplateSource):
    """The symmetric template of 2009 that nilearn ships: its T1w, without a skull, 1 mm."""

    def has(self, space: Space) -> bool:
        """Tell whether a space is that one."""
        return space.name == EMBEDDED

    def find(self, space: Space, home: Path) -> TemplateFiles:
        """Return nilearn's file; its mask is made of it."""
        if space.cohort is not None:
            raise InputError(f'--output-spaces {space.name}: it has no cohorts.')
        return TemplateFiles(_shipped(), None, 'T1w', 'shipped with nilearn', _made_grids(space))


def _shipped() -> Path:
    """Return nilearn's ``datasets.struct.MNI152_FILE_PATH``, whose import would take more than a second."""
    found = find_spec('nilearn')
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / 'datasets' / 'data' / 'mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz'


class OwnTemplate(TemplateSource):
    """An image of the user, with its mask named, beside it, or in it where it is skull-stripped."""

    #: What takes the place of an image's suffix in the name of its mask.
    MASKS: ClassVar = ('desc-brain_mask', 'mask')

    def has(self, space: Space) -> bool:
        """Tell whether a file was given."""
        return space.path is not None

    def find(self, space: Space, home: Path) -> TemplateFiles:
        """Return the user's file and its mask; without one, the mask is to be made."""
        image = space.path
        assert image is not None
        for path in filter(None, (image, space.mask)):
            if not path.is_file():
                raise InputError(f'--output-spaces {space.name}: there is no file {path}.')
        mask = space.mask or next((path for path in self._beside(image) if path.is_file()), None)
        suffix = _stem_and_ending(image)[0].rpartition('_')[2]
        contrast = suffix if suffix in CONTRASTS else ''
        return TemplateFiles(image, mask, contrast, 'given by the user', _made_grids(space))

    def _beside(self, image: Path) -> list[Path]:
        stem, own = _stem_and_ending(image)
        short = stem.rpartition('_')[0]
        names = [f'{start}_{mask}' for start in (stem, short) if start for mask in self.MASKS]
        # either may be compressed and the other not
        endings = dict.fromkeys((own, *ENDINGS))
        return [image.with_name(name + ending) for ending in endings for name in names]


def _stem_and_ending(path: Path) -> tuple[str, str]:
    """Return the name of an image without its ending, and that; other dots belong to the name (``MNI_0.7mm.nii``)."""
    ending = next((ending for ending in ENDINGS if path.name.endswith(ending)), path.suffix)
    return path.name.removesuffix(ending), ending


class TemplateFlow(TemplateSource):
    """A folder of TemplateFlow: ``tpl-NAME/[cohort-N/]tpl-NAME_[cohort-N_][res-NN_]T1w.nii.gz`` and its mask."""

    def has(self, space: Space) -> bool:
        """Tell that any other name may be one of TemplateFlow."""
        return True

    def find(self, space: Space, home: Path) -> TemplateFiles:
        """Return the files of the finest grid with a mask, and one of each grid that is wanted, all with content."""
        files = self.named(space, home)
        for path in files.paths:
            if not has_content(path):
                raise MissingTemplateError(
                    f'--output-spaces {space.name}: {path} was not downloaded yet (it is empty).',
                    how_to_get(space, home),
                )
        return files

    def named(self, space: Space, home: Path) -> TemplateFiles:
        """Return the same files by their names alone, some of which may be empty."""
        folder = home / f'tpl-{space.name}'
        if not folder.is_dir():
            there = sorted(path.name[4:] for path in home.glob('tpl-*') if path.is_dir())
            known = sorted({EMBEDDED, *there})
            if there:
                problem = f'{home} has no template {space.name}.{suggestion(space.name, known)}'
            else:
                problem = f'{home} is no folder of TemplateFlow, and only {EMBEDDED} needs none.'
            raise MissingTemplateError(f'--output-spaces {space.name}: {problem}', how_to_get(space, home))
        folder = self._cohort(space, folder)
        files = [_Parsed.of(path) for path in sorted(folder.glob('tpl-*.nii*'))]
        images = {
            contrast: {item.resolution: item.path for item in files if item.suffix == contrast and not item.others}
            for contrast in CONTRASTS
        }
        contrast = next((contrast for contrast in CONTRASTS if images[contrast]), None)
        if contrast is None:
            raise MissingTemplateError(
                f'--output-spaces {space.name}: {folder} has no {" and no ".join(CONTRASTS)}.',
                how_to_get(space, home),
            )
        masks = {
            item.resolution: item.path for item in files if item.suffix == 'mask' and item.others == {'desc': 'brain'}
        }
        own = min(images[contrast])
        if own not in masks:
            raise MissingTemplateError(
                f'--output-spaces {space.name}: {images[contrast][own].name} has no brain mask beside it '
                '(desc-brain_mask).',
                how_to_get(space, home),
            )
        grids = self._grids(space, images[contrast] | masks, own)
        return TemplateFiles(images[contrast][own], masks[own], contrast, f'TemplateFlow in {home}', grids)

    def _cohort(self, space: Space, folder: Path) -> Path:
        cohorts = sorted(int(path.name[7:]) for path in folder.glob('cohort-*') if path.name[7:].isdigit())
        if not cohorts and space.cohort is None:
            return folder
        if space.cohort in cohorts:
            return folder / f'cohort-{space.cohort}'
        choices = f'choose from {", ".join(map(str, cohorts))}' if cohorts else 'it has none'
        wanted = f'there is no cohort {space.cohort}' if space.cohort else 'the template has cohorts'
        raise MissingTemplateError(f'--output-spaces {space.name}: {wanted}: {choices} (NAME:cohort-N).')

    def _grids(self, space: Space, there: Mapping[int, Path], own: int) -> dict[int, Path | None]:
        for number in space.resolutions:
            if number not in there and (number, own) != (1, 0):
                known = ', '.join(str(found or 1) for found in sorted(there))
                raise MissingTemplateError(
                    f'--output-spaces {space.name}:res-{number}: there is no such resolution; known: {known}.'
                )
        return {number: there[number] for number in space.resolutions if number != (own or 1)}


@dataclass(frozen=True)
class _Parsed:
    """A file of TemplateFlow by its name: resolution (0 without one), suffix, and its other entities."""

    path: Path
    resolution: int
    suffix: str
    others: Mapping[str, str]

    @classmethod
    def of(cls, path: Path) -> _Parsed:
        *parts, suffix = path.name.partition('.')[0].split('_')
        entities = {key: value for key, _, value in (part.partition('-') for part in parts)}
        number = entities.pop('res', '0')
        others = {key: value for key, value in entities.items() if key not in ('tpl', 'cohort')}
        return cls(path, int(number) if number.isdigit() else 0, suffix, others)


def has_content(path: Path) -> bool:
    """Tell whether a file has something in it: TemplateFlow's client leaves empty ones, git-annex links to nothing."""
    return path.is_file() and path.stat().st_size > 0


def how_to_get(space: Space, home: Path) -> str:
    """Say with which command TemplateFlow's client gets what is needed of a template."""
    cohort = '' if space.cohort is None else f'cohort={space.cohort}, '
    wanted = ', '.join(map(str, space.resolutions or (1,)))
    numbers = f'resolution=[{wanted}]' if 1 in (space.resolutions or (1,)) else f'resolution=[1, {wanted}]'
    calls = '; '.join(
        f"get('{space.name}', {cohort}{numbers}, {what})"
        for what in ("suffix='T1w', desc=None", "suffix='mask', desc='brain'")
    )
    return (
        'Where there is a network, this gets it: '
        f'TEMPLATEFLOW_HOME={home} python -c "from templateflow.api import get; {calls}"'
    )


#: The places in the order in which they are asked.
SOURCES: tuple[TemplateSource, ...] = (OwnTemplate(), EmbeddedTemplate(), TemplateFlow())


def templateflow_home(given: Path | None) -> Path:
    """Return the folder of TemplateFlow: the one given, that of ``TEMPLATEFLOW_HOME``, or its client's default."""
    if given is not None:
        return given
    from platformdirs import user_cache_dir

    return Path(os.environ.get('TEMPLATEFLOW_HOME') or user_cache_dir('templateflow')).absolute()


def find_template(space: Space, home: Path) -> TemplateFiles:
    """Return the files of a template, which are there and have content.

    Parameters
    ----------
    space
        What is asked for.
    home
        The folder of TemplateFlow, see :func:`templateflow_home`.

    Raises
    ------
    InputError
        If there is no such template, cohort or resolution, or a file of it is missing or empty: the message says what
        there is, or how to get it.
    """
    return next(source for source in SOURCES if source.has(space)).find(space, home)
