"""A program that finds what it is told, and a small pair of heads on awkward grids for it and for the real ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bidsreg.programs import Fields, Program, ProgramSettings, Workspace
from bidsreg.programs.exchange import world_points
from bidsreg.registration import Grid, Image
from tests import data


@dataclass(frozen=True)
class Heads:
    """A T1w and its distorted T2w: as images, as files, and where every point lies."""

    paths: dict[str, Path]
    truth: data.Truth
    pair: data.Pair
    fixed: Image
    moving: Image
    fixed_mask: Image
    moving_mask: Image

    def displacement(self) -> np.ndarray:
        """u(x) at the voxels of the fixed image, mm."""
        return self.truth.displacement(world_points(self.fixed)).astype(np.float32)


def make_heads(folder: Path) -> Heads:
    """A T1w on an oblique, left-handed grid and its distorted T2w on another oblique one."""
    known = data.truth(1, turn=(2, -3, 4), shift=(1.0, 2.0, -3.0), amplitude=12.0)
    shape, affine = (36, 42, 34), data.grid((36, 42, 34), 'LPI', (-8, 12, 17), 5.4)
    moving_shape, moving_affine = (34, 40, 36), data.grid((34, 40, 36), 'RAS', (14, -9, 7), (5.6, 5.5, 5.2))
    pair = data.pair(shape, 1, moving_shape, affine, moving_affine, known=known)
    paths = pair.save(folder)
    names = ('fixed', 'moving', 'fixed_mask', 'moving_mask')
    return Heads(paths, known, pair, **{name: Image.load(paths[name]) for name in names})


@dataclass(frozen=True)
class PretendedSettings(ProgramSettings):
    """One number, smaller for a quick look."""

    few: ClassVar[Mapping[str, Any]] = {'depth': 1}

    depth: int = 3


class Pretended(Program[PretendedSettings]):
    """Finds a field that a function makes of the fixed image, and maybe its inverse; keeps every workspace it got."""

    name = 'pretended'
    settings = PretendedSettings()

    def __init__(
        self,
        field: Callable[[Image], np.ndarray] | np.ndarray | None = None,
        inverse: np.ndarray | None = None,
        absent: str = '',
    ):
        self.field, self.inverse, self.absent = field, inverse, absent
        self.workspaces: list[Workspace] = []

    def missing(self) -> str:
        return self.absent

    def version(self) -> str:
        return '7.1'

    def run(self, workspace: Workspace) -> Fields:
        self.workspaces.append(workspace)
        assert workspace.path('fixed').exists()
        field = self.field(Image.load(workspace.path('fixed'))) if callable(self.field) else self.field
        assert field is not None
        return Fields(field, self.inverse)


def smooth_field(grid: Grid, amplitude: float = 4.0) -> np.ndarray:
    """Displacements in mm, others in each direction, vanishing at the border."""
    fade = np.ones(grid.shape)
    for axis, n in enumerate(grid.shape):
        fade = fade * np.sin(np.pi * np.arange(n) / (n - 1)).reshape([-1 if i == axis else 1 for i in range(3)])
    return (fade[..., None] * np.array([amplitude, -amplitude / 2, amplitude / 3])).astype(np.float32)


SCRIPT = '#!/bin/sh\necho 1.5.58\n'
"""A program that tells its version, whatever it is asked."""


def executable(folder: Path, *names: str, text: str = SCRIPT) -> Path:
    """Write scripts that can be started into a folder, which is returned."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder
