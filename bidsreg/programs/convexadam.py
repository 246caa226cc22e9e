"""Coupled convex optimisation and Adam on MIND-SSC (convexAdam)."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from bidsreg.programs.base import Program, ProgramSettings
from bidsreg.programs.exchange import Fields, Workspace, bring_moving, read_voxels
from bidsreg.programs.process import run_python

BLOCK = 6
"""Voxels: its coarsest steps take such blocks; images of another size make it stretch its answer."""


@dataclass(frozen=True)
class ConvexAdamSettings(ProgramSettings):
    """The settings of convexAdam; all but the iterations stay as they come.

    Attributes
    ----------
    selected_niter : int
        Iterations of Adam.
    """

    few: ClassVar[Mapping[str, Any]] = {'selected_niter': 10}

    selected_niter: int = 80


class ConvexAdam(Program[ConvexAdamSettings]):
    """convexAdam; it takes no masks and gives no inverse.

    It wants both images on one grid: the moving one is resampled through the affine.
    """

    name, package, distribution = 'convexadam', 'convexAdam', 'convexAdam'
    description = 'convexAdam with MIND-SSC'
    peer = True
    settings = ConvexAdamSettings()

    def run(self, workspace: Workspace) -> Fields:
        """Run the package in a Python process; its displacements come in voxels."""
        from bidsreg.registration.image import Image

        grid = Image.load(workspace.path('fixed')).grid
        images = [workspace.path('fixed'), bring_moving(workspace, grid)]
        out = workspace.folder / 'displacement.npy'
        options = json.dumps(dataclasses.asdict(self.used_settings(workspace.sloppy)))
        run_python(self.name, [*images, out, str(workspace.threads), options], workspace)
        return Fields(np.load(out) @ grid.affine[:3, :3].T.astype(np.float32))

    def child(self, words: Sequence[str]) -> int:
        """Register two files; displacements in voxels, float32, shape (X, Y, Z, 3), go to the third."""
        import torch
        from convexAdam.convex_adam_MIND import convex_adam_pt

        fixed, moving, out, threads, text = words
        options: dict[str, Any] = json.loads(text)
        torch.set_num_threads(int(threads))
        images = [read_voxels(path) for path in (fixed, moving)]
        shape = images[0].shape
        padding = [(0, -n % BLOCK) for n in shape]
        padded = [np.pad(image, padding) for image in images]
        found = convex_adam_pt(*padded, device=torch.device('cpu'), **options)
        np.save(out, found[tuple(slice(n) for n in shape)].astype(np.float32))
        return 0
