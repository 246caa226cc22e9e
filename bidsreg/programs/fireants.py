"""Riemannian greedy registration with torch (FireANTs), made for GPUs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from bidsreg.programs.base import Program, ProgramSettings
from bidsreg.programs.exchange import Fields, Workspace, itk_field, without_affine
from bidsreg.programs.process import run_python


@dataclass(frozen=True)
class FireAntsSettings(ProgramSettings):
    """The settings of FireANTs' greedy registration.

    Attributes
    ----------
    loss_type : str
        ``mi``: mutual information.
    scales, iterations : tuple of int
        One number for each level, coarse to fine.
    optimizer_lr : float
        Step in voxels.
    smooth_warp_sigma, smooth_grad_sigma : float
        Standard deviations, in voxels, of the Gaussians that smooth the warp and its update.
    """

    few: ClassVar[Mapping[str, Any]] = {'iterations': (20, 10, 5)}

    loss_type: str = 'mi'
    scales: tuple[int, ...] = (4, 2, 1)
    iterations: tuple[int, ...] = (200, 100, 50)
    optimizer_lr: float = 0.5
    smooth_warp_sigma: float = 0.5
    smooth_grad_sigma: float = 1.0


class FireAnts(Program[FireAntsSettings]):
    """FireANTs' greedy registration with compositive warps; it takes no masks, and the field is inverted here."""

    name, package, distribution = 'fireants', 'fireants', 'fireants'
    description = 'FireANTs with mutual information'
    peer = True
    uses_gpu = True
    settings = FireAntsSettings()

    def run(self, workspace: Workspace) -> Fields:
        """Run the package in a Python process; the warp that it saves includes the affine."""
        from bidsreg.registration.image import Image

        out = workspace.folder / 'warp.nii.gz'
        options = json.dumps(dataclasses.asdict(self.used_settings(workspace.sloppy)))
        files = [workspace.path('fixed'), workspace.path('moving'), workspace.plain_affine, out]
        run_python(self.name, [*files, workspace.device, str(workspace.threads), options], workspace)
        return Fields(without_affine(itk_field(out), Image.load(workspace.path('fixed')), workspace.affine))

    def child(self, words: Sequence[str]) -> int:
        """Register two files from the affine in the third on; the warp goes to the fourth."""
        import torch
        from fireants.io import BatchedImages, Image
        from fireants.registration.greedy import GreedyRegistration

        from bidsreg.registration.itk import FLIP

        *images, affine, out, device, threads, text = words
        options: dict[str, Any] = json.loads(text)
        torch.set_num_threads(int(threads))
        fixed, moving = (BatchedImages([Image.load_file(path, device=device)]) for path in images)
        physical = FLIP @ np.loadtxt(affine) @ FLIP
        found = GreedyRegistration(
            fixed_images=fixed,
            moving_images=moving,
            deformation_type='compositive',
            init_affine=torch.as_tensor(physical, dtype=torch.float32, device=device)[None],
            **options,
        )
        found.optimize()
        found.save_as_ants_transforms([out])
        return 0
