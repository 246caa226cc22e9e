"""The memory each step is declared to take, so that Nipype packs a machine without overfilling it.

Gigabytes are those of the largest resident memory measured for a step: what the libraries take, and bytes per voxel.
Those of our own steps were measured with ``experiments/memory.py``; ``docs/clusters.md`` has the table.
"""

from __future__ import annotations

import math
import os
import typing
from collections.abc import Sequence
from dataclasses import dataclass

from bidsreg.bids.headers import check_header
from bidsreg.execution.machine import allowed_threads, usable_memory

if typing.TYPE_CHECKING:
    from bidsreg.execution.settings import ExecutionSettings

#: Shape taken for an image of which nothing is known.
TYPICAL_SHAPE = (256, 256, 256)

#: The solver, and what reads its fields, work on the box around the brain: this many mm^3 are those of a large one, and
#: the part of a whole head's field of view; its voxels are not finer than those of the fixed image.
BRAIN_BOX_MM3, BRAIN_BOX_SHARE = 150 * 190 * 160, 0.4


@dataclass(frozen=True)
class MemoryModel:
    """The memory of a step as a linear function of the voxels it works on.

    Parameters
    ----------
    base
        GB that its libraries take.
    first, second
        Bytes for each voxel of its first and of its second image.
    box
        Bytes for each voxel of the solver's finest grid, which covers the box around the brain.
    """

    base: float
    first: float = 0
    second: float = 0
    box: float = 0


#: The model of each step, fitted to what ``experiments/memory.py`` measured.
MEMORY: dict[str, MemoryModel] = {
    'conform': MemoryModel(0.15, 2),
    'brain_mask': MemoryModel(1.21, 5.5),
    'n4': MemoryModel(0.29, 22),
    'prealign': MemoryModel(0.32, 57, 57),
    # of one simulated head and one session, as its interface alone
    'linear': MemoryModel(0.23, 10, 4),
    'moving_mask': MemoryModel(0.32, 22, 28),
    'register': MemoryModel(0.52, 13, 13, 365),
    'apply': MemoryModel(0.28, 24, 27, 104),
    # calibrated, of a simulated head of 2 and 1 mm; Atropos takes what the box around the brain asks for, so that air
    # around the head is declared for nothing
    'ratio': MemoryModel(0.38, 103),
    # of normalisations: on one simulated head of 1 mm and the template of nilearn, each as its interface alone
    'cut_out': MemoryModel(0.15, 6),
    'to_space': MemoryModel(0.28, 16, 16, 35),
    'chain': MemoryModel(0.25, 0, 0, 130),
    'measure_space': MemoryModel(0.13, 46, 22),
    'draw': MemoryModel(0.14, 16, 3),
    'draw_grid': MemoryModel(0.145, 16, 0, 55),
    'draw_ratio': MemoryModel(0.17, 9),
    'draw_loss': MemoryModel(0.16),
    'draw_mask_moving': MemoryModel(0.12, 0, 24),
    'measure': MemoryModel(0.13, 41, 6),
    'publish': MemoryModel(0.16),
}
#: The model of another program, whose fields lie on the fixed image's grid; an assumption, no fit.
PROGRAM = MemoryModel(0.6, 400, 50)


def voxel_shape(path: str | os.PathLike) -> tuple[int, ...]:
    """Return the voxels along the three axes of an image, for the estimates of memory.

    Of a file that is broken or not 3-D it is :data:`TYPICAL_SHAPE`: that file is for its own node to report.
    """
    shape = check_header(path).shape
    return shape if len(shape) == 3 else TYPICAL_SHAPE


def gigabytes(step: str, *shapes: Sequence[int], resolution: float = 1.0) -> float:
    """Return the memory (GB) to declare for a step that reads images of these shapes.

    Parameters
    ----------
    step
        A key of :data:`MEMORY`.
    shapes
        Voxels of its first and of its second image.
    resolution
        Voxel size of the solver's finest grid, mm.

    >>> gigabytes('publish')
    0.16
    """
    return _gigabytes(MEMORY[step], *shapes, resolution=resolution)


def _gigabytes(model: MemoryModel, *shapes: Sequence[int], resolution: float = 1.0) -> float:
    voxels = [math.prod(shape[:3]) for shape in shapes]
    total = sum(bytes_each * n for bytes_each, n in zip((model.first, model.second), voxels, strict=False))
    total += model.box * min(BRAIN_BOX_MM3 / resolution**3, BRAIN_BOX_SHARE * voxels[0]) if voxels else 0
    return round(model.base + total / 1e9, 2)


def picture_gigabytes(picture: str, fixed_shape: Sequence[int], moving_shape: Sequence[int]) -> float:
    """Return the memory to declare for the drawing of a picture of :data:`bidsreg.reports.pictures.PICTURES`."""
    own = f'draw_{picture}'
    return gigabytes(own if own in MEMORY else 'draw', fixed_shape, moving_shape)


def solver_gigabytes(fixed_shape: Sequence[int], moving_shape: Sequence[int], resolution: float = 1.0) -> float:
    """Return the memory to declare for ``bidsreg-pair`` when its finest grid has voxels of ``resolution`` mm."""
    return gigabytes('register', fixed_shape, moving_shape, resolution=resolution)


def program_gigabytes(fixed_shape: Sequence[int], moving_shape: Sequence[int]) -> float:
    """Return the memory to declare for ``bidsreg-pair`` when another program does the work."""
    return _gigabytes(PROGRAM, fixed_shape, moving_shape)


def threads_of_a_step(settings: ExecutionSettings, needs: Sequence[float]) -> int:
    """Return how many threads a step gets: where nothing was asked for, fewer the more pairs keep all CPUs busy.

    Threads of one step wait for each other wherever it is serial; pairs beside each other do not. How many there are
    changes no result of a preset.

    Parameters
    ----------
    settings
        How many CPUs and how much memory there are. Threads that were asked for stay, and so do those of jobs on other
        machines.
    needs
        Memory (GB) of the largest step of each piece of work.
    """
    if settings.threads_given or settings.use_plugin is not None or not needs:
        return settings.omp_nthreads
    room = (settings.mem_gb or usable_memory().gb) / max(needs)
    at_once = max(1, min(len(needs), int(room)))
    return max(1, min(settings.omp_nthreads, allowed_threads(settings.nprocs) // at_once))
