"""Discrete registration with self-similarity contexts (deedsBCV)."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bidsreg.programs.base import Program, ProgramSettings
from bidsreg.programs.errors import ProgramError
from bidsreg.programs.exchange import Fields, Workspace, bring_moving
from bidsreg.programs.process import run_program

if TYPE_CHECKING:
    from bidsreg.registration.grid import Grid

EVEN = 0.05
"""Voxels whose sides differ by less than this fraction pass for cubes: a choice, not tuned."""


@dataclass(frozen=True)
class DeedsSettings(ProgramSettings):
    """The settings of deedsBCV, as they come.

    Attributes
    ----------
    regularisation : float
        alpha, its weight.
    spacing, radius, quantisation : tuple of int
        Voxels between control points, steps of the search on either side, and voxels of a step: one for each level.
    """

    few: ClassVar[Mapping[str, Any]] = {'spacing': (8, 7), 'radius': (3, 3), 'quantisation': (3, 2)}

    regularisation: float = 1.6
    spacing: tuple[int, ...] = (8, 7, 6, 5, 4)
    radius: tuple[int, ...] = (8, 7, 6, 5, 4)
    quantisation: tuple[int, ...] = (5, 4, 3, 2, 1)


class DeedsBcv(Program[DeedsSettings]):
    """deedsBCV on the PATH; it takes no masks and gives no inverse.

    It knows voxels only: both images lie on one grid of cubes, the moving one through the affine.
    """

    name = 'deedsbcv'
    description = 'deedsBCV with self-similarity contexts'
    peer = True
    settings = DeedsSettings()

    def missing(self) -> str:
        """Say that the program is not on the PATH, where it is not."""
        where = 'build it from https://github.com/mattiaspaul/deedsBCV'
        return '' if shutil.which('deedsBCV') else f'deedsBCV is not on the PATH; {where}'

    def run(self, workspace: Workspace) -> Fields:
        """Run the deformable part on cubes, and bring what it finds to the fixed grid."""
        from bidsreg.registration.grid import Grid
        from bidsreg.registration.image import Image, resample

        chosen, fixed = self.used_settings(workspace.sloppy), Image.load(workspace.path('fixed'))
        cubes, image, stem = cubes_of(fixed.grid), workspace.folder / 'cubes.nii.gz', workspace.folder / 'deeds'
        Image(resample(fixed, cubes), cubes).save(image)
        words: list[str | Path] = [
            *('deedsBCV', '-F', image, '-M', bring_moving(workspace, cubes, '.nii.gz'), '-O', stem),
            *('-a', f'{chosen.regularisation:g}'),
            *('-G', _by_level(chosen.spacing), '-L', _by_level(chosen.radius), '-Q', _by_level(chosen.quantisation)),
        ]
        run_program(words, workspace)
        voxels = control_displacements(Path(f'{stem}_displacements.dat'), cubes.shape, chosen.spacing[-1])
        vectors = voxels @ cubes.affine[:3, :3].T
        # its control points begin at the first voxel, and reach beyond the last one's block by replication
        step = np.array(cubes.shape) / voxels.shape[:3]
        coarse = Grid(voxels.shape[:3], cubes.affine @ np.diag([*step, 1.0]))
        return Fields(_upsampled(vectors, coarse, fixed.grid))


def cubes_of(grid: Grid) -> Grid:
    """Return a grid, or one on its axes with cubes as large as its voxels are thin."""
    even = np.ptp(grid.spacing) < EVEN * grid.spacing.min()
    return grid if even else grid.covering(np.full(3, grid.spacing.min()))


def control_displacements(path: Path, shape: tuple[int, int, int], spacing: int) -> np.ndarray:
    """Read displacements (I, J, K, 3) of control points, in voxels along the axes of the images.

    The file holds float32 without a header: along the second axis for all control points, then along the first, then
    along the third, each with the first axis running fastest.

    Parameters
    ----------
    path : Path
        What deedsBCV wrote.
    shape : tuple of int
        Of the images.
    spacing : int
        Voxels between control points on the last level.

    Raises
    ------
    ProgramError
        If the file is absent, or of another size than that.
    """
    points = tuple(n // spacing for n in shape)
    try:
        values = np.fromfile(path, np.float32)
    except OSError as error:
        raise ProgramError(f'deedsBCV left no {path.name}: {error.strerror}') from error
    if values.size != 3 * np.prod(points):
        raise ProgramError(f'{path.name} holds {values.size} numbers, not those of {points} control points')
    second, first, third = (part.reshape(points, order='F') for part in values.reshape(3, -1))
    return np.stack([first, second, third], -1)


def _upsampled(vectors: np.ndarray, coarse: Grid, grid: Grid) -> np.ndarray:
    """Sample vectors linearly at the voxels of another grid; the outermost ones go on beyond."""
    from scipy import ndimage as ndi

    at = np.moveaxis(coarse.to_voxels(grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))), -1, 0)
    parts = [ndi.map_coordinates(vectors[..., axis], at, order=1, mode='nearest') for axis in range(3)]
    return np.stack(parts, -1).astype(np.float32)


def _by_level(values: tuple[int, ...]) -> str:
    return 'x'.join(map(str, values))
