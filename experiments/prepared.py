"""The pairs of pairs.py, made ready: every method gets the same images, masks and affine.

Two kinds of folders are known (see pairs.py). Images are N4-corrected inside the same masks, as the app does it, and
keep their mean brightness. Between people the affine is the identity, for the pairs are aligned already; within a head
it is the one that fits the true points best, so that only the deformable step is compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from common import stripped_brain

from bidsreg.preparation.bias import bias_field
from bidsreg.qc.decomposition import closest_affine
from bidsreg.registration.atomic import atomic_folder
from bidsreg.registration.grid import Grid
from bidsreg.registration.image import Image, resample
from bidsreg.registration.itk import write_affine


@dataclass(frozen=True, eq=False)
class PreparedPair:
    """A pair made ready for every method.

    Attributes
    ----------
    name : str
        Folder of the data set and name in it.
    task : str
        ``'inter'``: two people, with labels. ``'intra'``: one head, with points whose truth is known.
    folder : Path
        Holds the files that :meth:`path` names.
    """

    name: str
    task: str
    folder: Path

    def path(self, what: str) -> Path:
        """Return the file of ``fixed``, ``fixed_mask``, ``fixed_labels``, or the same of ``moving``."""
        return self.folder / f'{what}.nii.gz'

    @property
    def affine(self) -> Path:
        """Return the file of the matrix, fixed world to moving world, as ITK has it."""
        return self.folder / 'affine.txt'

    @property
    def points(self) -> Path:
        """Return the file of true points: x, y, z in the fixed world and in the moving one, mm; not always there."""
        return self.folder / 'points.txt'


Prepare = Callable[[PreparedPair], None]


def find_pairs(folder: Path, work: Path, bias: str) -> Iterator[tuple[PreparedPair, Prepare]]:
    """Find the pairs of a data set, and how to make each ready.

    Raises
    ------
    ValueError
        If the folder holds neither kind of pair.
    """
    truth = sorted((folder / 'derivatives/truth').rglob('*_from-T1w_to-T2w_points.tsv'))
    labelled = sorted(path.parent for path in folder.glob('*/fixed_dseg.nii.gz'))
    if not truth and not labelled:
        raise ValueError(f'{folder} holds neither */fixed_dseg.nii.gz nor derivatives/truth/**/*_points.tsv')
    data_set = folder.resolve().name
    for table in truth:
        name = table.name.split('_from-')[0]
        raw = folder / table.parent.relative_to(folder / 'derivatives/truth')
        pair = PreparedPair(f'{data_set}/{name}', 'intra', work / data_set / f'{name}_{bias}')
        yield pair, partial(prepare_intra, raw=raw, table=table, bias=bias)
    for source in labelled:
        pair = PreparedPair(f'{data_set}/{source.name}', 'inter', work / data_set / f'{source.name}_{bias}')
        yield pair, partial(prepare_inter, source=source, bias=bias)


def prepare_inter(pair: PreparedPair, *, source: Path, bias: str) -> None:
    """Prepare skull-stripped images on a common grid: the mask is what is not background."""
    for end, contrast in (('fixed', 'T1w'), ('moving', 'T2w')):
        image = Image.load(source / f'{end}_{contrast}.nii.gz')
        write_images(pair, end, image, stripped_brain(image), bias)
        Image.load(source / f'{end}_dseg.nii.gz', np.int32).save(pair.path(f'{end}_labels'))
    write_affine(pair.affine, np.eye(4))


def prepare_intra(pair: PreparedPair, *, raw: Path, table: Path, bias: str) -> None:
    """Prepare whole heads; the true mask of the T1w is carried over to the T2w by the affine."""
    name = table.name.split('_from-')[0]
    fixed, moving = (Image.load(raw / f'{name}_{contrast}.nii.gz') for contrast in ('T1w', 'T2w'))
    points = np.loadtxt(table, skiprows=1)
    affine = closest_affine(points[:, :3], points[:, 3:])
    mask = Image.load(table.with_name(f'{name}_desc-brain_mask.nii.gz'))
    # the grid of the moving image as seen from the fixed world
    seen = Grid(moving.grid.shape, np.linalg.inv(affine) @ moving.grid.affine)
    carried = Image(resample(mask, seen, order=0), moving.grid)
    write_images(pair, 'fixed', fixed, mask, bias)
    write_images(pair, 'moving', moving, carried, bias)
    np.savetxt(pair.points, points)
    for end, labels in (('fixed', f'{name}_dseg.nii.gz'), ('moving', f'{name}_space-T2w_dseg.nii.gz')):
        if table.with_name(labels).exists():
            Image.load(table.with_name(labels), np.int32).save(pair.path(f'{end}_labels'))
    write_affine(pair.affine, affine)


def write_images(pair: PreparedPair, end: str, image: Image, mask: Image, bias: str) -> None:
    """Write an image without its bias field, and its mask."""
    inside = mask.data > 0
    data = image.data
    if bias == 'n4':
        data = data / bias_field(data, inside, image.grid.affine)
        data *= image.data[inside].mean() / data[inside].mean()
    Image(data.astype(np.float32), image.grid).save(pair.path(end))
    Image(inside.astype(np.uint8), image.grid).save(pair.path(f'{end}_mask'))


def make_ready(pair: PreparedPair, prepare: Prepare) -> None:
    """Prepare a pair unless its folder is there already; no folder is ever left half filled."""
    if not pair.folder.exists():
        with atomic_folder(pair.folder) as making:
            prepare(PreparedPair(pair.name, pair.task, making))
