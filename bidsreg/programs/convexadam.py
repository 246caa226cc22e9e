"""Coupled convex optimisation and Adam on MIND-SSC (convexAdam)."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bidsreg.programs.base import Fields, Program, Workspace, run_python

BLOCK = 6
"""Voxels: its coarsest steps take such blocks; images of another size make it stretch its answer."""


@dataclass(frozen=True)
class ConvexAdamSettings:
    """The package's own settings, but for the iterations.

    Attributes
    ----------
    selected_niter : int
        Iterations of Adam.
    """

    selected_niter: int = 80

    def sloppy(self) -> ConvexAdamSettings:
        """Few iterations, for tests."""
        return dataclasses.replace(self, selected_niter=10)


class ConvexAdam(Program):
    """It wants both images on one grid: the moving one is resampled through the affine. No inverse, no masks."""

    name, package, distribution = 'convexadam', 'convexAdam', 'convexAdam'
    description = 'convexAdam with MIND-SSC'
    peer = True
    settings = ConvexAdamSettings()

    def run(self, work: Workspace) -> Fields:
        """Through Python; displacements come in voxels."""
        import nibabel as nib

        from bidsreg.registration.grid import Grid
        from bidsreg.registration.image import Image, resample

        fixed, moving = (Image.load(work.path(end)) for end in ('fixed', 'moving'))
        seen = Grid(moving.grid.shape, np.linalg.inv(work.affine) @ moving.grid.affine)
        Image(resample(Image(moving.data, seen), fixed.grid), fixed.grid).save(work.path('resampled'))
        out = work.folder / 'displacement.npy'
        options = json.dumps(dataclasses.asdict(self.used_settings(work.sloppy)))
        run_python(self.name, [work.path('fixed'), work.path('resampled'), out, str(work.threads), options], work)
        matrix = nib.load(work.path('fixed')).affine[:3, :3]
        return Fields(np.load(out) @ matrix.T.astype(np.float32))

    @staticmethod
    def child(words: Sequence[str]) -> int:
        """Register two files; displacements in voxels, float32, shape (X, Y, Z, 3), go to the third."""
        import nibabel as nib
        import torch
        from convexAdam.convex_adam_MIND import convex_adam_pt

        options: dict[str, Any] = json.loads(words[4])
        torch.set_num_threads(int(words[3]))
        images = [np.asarray(nib.load(path).dataobj, np.float32) for path in words[:2]]
        shape = images[0].shape
        padding = [(0, -n % BLOCK) for n in shape]
        padded = [np.pad(image, padding) for image in images]
        found = convex_adam_pt(*padded, device=torch.device('cpu'), **options)
        np.save(words[2], found[tuple(slice(n) for n in shape)].astype(np.float32))
        return 0
