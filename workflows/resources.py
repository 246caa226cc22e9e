"""What each step needs, so that Nipype packs a machine without overfilling it.

Gigabytes are those of the largest resident memory measured for a step: what the libraries take, and bytes per voxel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

#: Shape taken for an image of which nothing is known.
TYPICAL_SHAPE = (256, 256, 256)

#: The solver, and what reads its fields, work on the box around the brain: this many mm^3 are those of a large one, and
#: the part of a whole head's field of view; its voxels are not finer than those of the fixed image.
BRAIN_BOX_MM3, BRAIN_BOX_SHARE = 150 * 190 * 160, 0.4


@dataclass(frozen=True)
class Need:
    """What a step takes: GB of its libraries, and bytes for each voxel of its images and of the solver's grid."""

    base: float
    first: float = 0
    second: float = 0
    box: float = 0


#: As measured with ``experiments/memory.py``; ``docs/clusters.md`` has the table.
NEEDS: dict[str, Need] = {
    'conform': Need(0.15, 2),
    'brain_mask': Need(1.21, 5.5),
    'n4': Need(0.29, 22),
    'prealign': Need(0.32, 57, 57),
    'moving_mask': Need(0.32, 22, 28),
    'register': Need(0.52, 13, 13, 365),
    'apply': Need(0.28, 24, 27, 104),
    'draw': Need(0.14, 16, 3),
    'draw_grid': Need(0.145, 16, 0, 55),
    'draw_loss': Need(0.16),
    'draw_mask_t2w': Need(0.12, 0, 24),
    'measure': Need(0.13, 41, 6),
    'publish': Need(0.16),
}
#: Of a program, whose fields lie on the fixed image's grid: gigabytes of libraries, bytes per voxel of either image.
PROGRAM = (0.6, 400, 50)


def gigabytes(step: str, *shapes: Sequence[int], resolution: float = 1.0) -> float:
    """Return the memory to declare for a step that reads images of these shapes.

    >>> gigabytes('publish')
    0.16
    """
    need = NEEDS[step]
    voxels = [math.prod(shape[:3]) for shape in shapes]
    total = sum(bytes_each * n for bytes_each, n in zip((need.first, need.second), voxels, strict=False))
    total += need.box * min(BRAIN_BOX_MM3 / resolution**3, BRAIN_BOX_SHARE * voxels[0]) if voxels else 0
    return round(need.base + total / 1e9, 2)


def picture_gigabytes(picture: str, fixed_shape: Sequence[int], moving_shape: Sequence[int]) -> float:
    """Return the memory to declare for the drawing of a picture of :data:`bidsreg.reports.pictures.PICTURES`."""
    own = f'draw_{picture}'
    return gigabytes(own if own in NEEDS else 'draw', fixed_shape, moving_shape)


def solver_gigabytes(fixed_shape: Sequence[int], moving_shape: Sequence[int], resolution: float = 1.0) -> float:
    """Return the memory to declare for ``bidsreg-pair`` when its finest grid has voxels of ``resolution`` mm."""
    return gigabytes('register', fixed_shape, moving_shape, resolution=resolution)


def program_gigabytes(fixed_shape: Sequence[int], moving_shape: Sequence[int]) -> float:
    """Return the memory to declare for ``bidsreg-pair`` when another program does the work."""
    base, *per_voxel = PROGRAM
    voxels = (math.prod(shape[:3]) for shape in (fixed_shape, moving_shape))
    return round(base + sum(need * n for need, n in zip(per_voxel, voxels, strict=True)) / 1e9, 2)
