"""Templates made ready: checked, with a brain mask, and with a reference for each grid that is wanted."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import nibabel as nb
import numpy as np

from bidsreg.bids.headers import check_header, load_sane
from bidsreg.bids.images import load_image
from bidsreg.bids.nifti import check_to_end
from bidsreg.bids.spaces import Space
from bidsreg.errors import InputError
from bidsreg.preparation.masks import fit_mask
from bidsreg.registration.atomic import write_atomic
from bidsreg.registration.grid import Grid
from bidsreg.stripped import stripped_brain
from bidsreg.templates.sources import TemplateFiles, find_template


@dataclass(frozen=True)
class Template:
    """A template that is ready for work.

    Attributes
    ----------
    space
        The space that it stands for.
    image, mask
        The image with a header that every tool reads alike, and its brain mask (uint8) on the same grid.
    references
        For each of the grids of the space an image on it: the template itself, or its mask.
    sources
        The files of image and mask that it was made of: with another resolution nothing else is done anew.
    origin
        Words that say where it comes from, and where its mask does.
    contrast
        ``T1w`` or ``T2w``; empty where that is not known.
    stamp
        16 hexadecimal digits that change with the voxels and the places of image and mask.
    """

    space: Space
    image: Path
    mask: Path
    references: Mapping[int | None, Path]
    sources: tuple[Path, ...]
    origin: str
    contrast: str
    stamp: str


@dataclass(frozen=True, eq=False)
class _Checked:
    """The image and the mask of a template in memory, both on one grid, and words about the mask."""

    image: nb.Nifti1Image
    mask: nb.Nifti1Image
    words: str

    @property
    def stamp(self) -> str:
        found = hashlib.sha256()
        for part in (self.image, self.mask):
            found.update(np.round(part.affine, 4).tobytes())
            found.update(np.ascontiguousarray(part.dataobj).tobytes())
        return found.hexdigest()[:16]


def check_template(space: Space, home: Path) -> TemplateFiles:
    """Find a template and make sure that people can be registered to it; nothing is written.

    Raises
    ------
    InputError
        As :func:`~bidsreg.templates.sources.find_template`; and when an image cannot be used, has no brain mask, or one
        that does not fit.
    """
    files = find_template(space, home)
    _read(space, files)
    return files


def _read(space: Space, files: TemplateFiles) -> _Checked:
    start = f'--output-spaces {space.name}: '
    try:
        image = load_sane(files.image)
        mask, words = _mask(files, image)
        _check_brain(np.asanyarray(image.dataobj)[mask], files.image)
    except InputError as error:
        raise InputError(start + str(error)) from error
    for path in filter(None, files.grids.values()):
        if errors := check_header(path).errors:
            raise InputError(f'{start}{path}: {"; ".join(errors)}')
    # as Fortran order is on disk, and without what the header of the file said beside the grid
    return _Checked(
        nb.Nifti1Image(np.asarray(image.dataobj, np.float32), image.affine),
        nb.Nifti1Image(mask.astype(np.uint8), image.affine),
        words,
    )


def _check_brain(values: np.ndarray, path: Path) -> None:
    """Raise where a template shows nothing inside its brain mask, as one that is a mask itself does."""
    low, high = np.percentile(values, (0.5, 99.5))
    if not high > low:
        raise InputError(
            f'{path} is {low:g} everywhere inside its brain mask: there is nothing to align. Is it a mask itself?'
        )


def _mask(files: TemplateFiles, image: nb.Nifti1Image) -> tuple[np.ndarray, str]:
    """Return the brain mask of a template (bool), and where it comes from."""
    if files.mask is not None:
        mask, done = fit_mask(str(files.mask), image, of=str(files.image))
        return mask, f'brain mask {files.mask.name}' + (f', {done}' if done else '')
    brain, why = stripped_brain(np.asanyarray(image.dataobj), image.affine)
    if brain is None:
        raise InputError(
            f'{files.image} has no brain mask, and is not skull-stripped ({why}): give one as NAME:IMAGE:MASK, or lay '
            'it beside the image as NAME_desc-brain_mask.nii.gz.'
        )
    return brain, 'brain mask from the voxels that are not zero'


def make_template(space: Space, home: Path, folder: Path) -> Template:
    """Make a template ready: write what a run works with into a folder of its own below `folder`.

    Parameters
    ----------
    space
        What is asked for.
    home
        The folder of TemplateFlow.
    folder
        Of the work folder; the template's own is named for its content, so that another one under the same name is
        never taken for it.

    Raises
    ------
    InputError
        As :func:`check_template`.
    OSError
        When it cannot be written.
    """
    files = find_template(space, home)
    checked = _read(space, files)
    place = folder / f'{space.label}_{checked.stamp}'
    place.mkdir(parents=True, exist_ok=True)
    image, mask = place / 'image.nii.gz', place / 'mask.nii.gz'
    _write(image, checked.image)
    _write(mask, checked.mask)
    references: dict[int | None, Path] = {}
    for grid in space.grids:
        if grid is None or grid not in files.grids:
            references[grid] = image
            continue
        references[grid] = place / f'res-{grid}.nii.gz'
        given = files.grids[grid]
        _write(references[grid], _on_file(given) if given else _coarser(checked.mask, grid))
    return Template(
        space,
        image,
        mask,
        references,
        tuple(filter(None, (files.image, files.mask))),
        f'{files.origin}, {checked.words}',
        files.contrast,
        checked.stamp,
    )


def _coarser(mask: nb.Nifti1Image, factor: int) -> nb.Nifti1Image:
    """Return an empty image on the grid of a mask with voxels so many times as wide, about the same centre."""
    x, y, z = mask.shape[:3]
    grid = Grid((x, y, z), mask.affine)
    wide = grid.covering(grid.spacing * factor)
    return nb.Nifti1Image(np.zeros(wide.shape, np.uint8), wide.affine)


def _on_file(path: Path) -> nb.Nifti1Image:
    """Return an empty image on the grid of a file."""
    report = check_header(path)
    return nb.Nifti1Image(np.zeros(report.shape, np.uint8), report.affine)


def _write(path: Path, image: nb.Nifti1Image) -> None:
    """Write an image unless the same one is there already, as in a folder that is named for its content."""
    if _is_there(path, image):
        return
    image.header.set_xyzt_units('mm')
    image.set_sform(image.affine, 1)
    image.set_qform(image.affine, 1)
    write_atomic(path, partial(_save, image))


def _is_there(path: Path, image: nb.Nifti1Image) -> bool:
    """Tell whether a file is whole and holds an image: a full disk or a bad one may have spoilt it since."""
    try:
        check_to_end(path)
        found = load_image(path)
        same_grid = found.shape == image.shape and np.allclose(found.affine, image.affine, atol=1e-3)
        return same_grid and np.array_equal(np.asanyarray(found.dataobj), np.asanyarray(image.dataobj))
    except Exception:  # no file, or whatever is made of half of one
        return False


def _save(image: nb.Nifti1Image, path: Path) -> None:
    image.to_filename(os.fspath(path))
