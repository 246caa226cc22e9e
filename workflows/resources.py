"""What each step needs, so that Nipype packs a machine without overfilling it.

Gigabytes are those of the largest resident memory measured for a step: what the libraries take, and bytes per voxel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

#: Shape taken for an image of which nothing is known.
TYPICAL_SHAPE = (256, 256, 256)

#: Gigabytes of a step's libraries, and bytes for each voxel of the images it reads.
NEEDS: dict[str, tuple[float, float]] = {
    'conform': (0.2, 24),
    'brain_mask': (1.4, 24),
    'n4': (0.35, 32),
    'prealign': (0.4, 75),
    'apply': (0.35, 40),
    'figure': (0.35, 24),
    'measure': (0.2, 16),
    'publish': (0.1, 0),
}
#: Of the solver: gigabytes of its libraries, bytes per voxel of the two images, and per voxel of its working grid.
SOLVER = (0.6, 50, 250)
#: Of an engine, whose fields lie on the fixed image's grid: gigabytes of libraries, bytes per voxel of either image.
ENGINE = (0.6, 400, 50)
#: The solver works on the box around the brain; this many mm^3 are those of a large one.
BRAIN_BOX_MM3 = 150 * 190 * 160


def gigabytes(step: str, *shapes: Sequence[int]) -> float:
    """Return the memory to declare for a step that reads images of these shapes.

    >>> gigabytes('publish')
    0.1
    """
    base, per_voxel = NEEDS[step]
    return round(base + per_voxel * sum(math.prod(shape[:3]) for shape in shapes) / 1e9, 2)


def solver_gigabytes(fixed_shape: Sequence[int], moving_shape: Sequence[int], resolution: float = 1.0) -> float:
    """Return the memory to declare for ``bidsreg-pair`` when its finest grid has voxels of ``resolution`` mm."""
    base, per_image_voxel, per_working_voxel = SOLVER
    images = math.prod(fixed_shape[:3]) + math.prod(moving_shape[:3])
    return round(base + (per_image_voxel * images + per_working_voxel * BRAIN_BOX_MM3 / resolution**3) / 1e9, 2)


def engine_gigabytes(fixed_shape: Sequence[int], moving_shape: Sequence[int]) -> float:
    """Return the memory to declare for ``bidsreg-pair`` when another program does the work."""
    base, *per_voxel = ENGINE
    voxels = (math.prod(shape[:3]) for shape in (fixed_shape, moving_shape))
    return round(base + sum(need * n for need, n in zip(per_voxel, voxels, strict=True)) / 1e9, 2)
