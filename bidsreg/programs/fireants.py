"""Riemannian greedy registration with torch (FireANTs), made for GPUs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bidsreg.programs.base import Fields, Program, Workspace, itk_field, run_python, without_affine


@dataclass(frozen=True)
class FireAntsSettings:
    """What decides a result of FireANTs' greedy registration.

    Attributes
    ----------
    loss_type : str
        ``mi``: mutual information.
    scales, iterations : tuple of int
        Of each level, coarse to fine.
    optimizer_lr : float
        Step in voxels.
    smooth_warp_sigma, smooth_grad_sigma : float
        Standard deviations, in voxels, of the Gaussians that smooth the warp and its update.
    """

    loss_type: str = 'mi'
    scales: tuple[int, ...] = (4, 2, 1)
    iterations: tuple[int, ...] = (200, 100, 50)
    optimizer_lr: float = 0.5
    smooth_warp_sigma: float = 0.5
    smooth_grad_sigma: float = 1.0

    def sloppy(self) -> FireAntsSettings:
        """Few iterations, for tests."""
        return dataclasses.replace(self, iterations=(20, 10, 5))


class FireAnts(Program):
    """FireANTs' greedy registration with compositive warps. No masks; the inverse is found by inverting."""

    name, package, distribution = 'fireants', 'fireants', 'fireants'
    description = 'FireANTs with mutual information'
    peer = True
    uses_gpu = True
    settings = FireAntsSettings()

    def run(self, work: Workspace) -> Fields:
        """Through Python; the warp it saves includes the affine."""
        from bidsreg.registration.image import Image

        out = work.folder / 'warp.nii.gz'
        options = json.dumps(dataclasses.asdict(self.used_settings(work.sloppy)))
        words = [
            work.path('fixed'),
            work.path('moving'),
            work.plain_affine,
            out,
            work.device,
            str(work.threads),
            options,
        ]
        run_python(self.name, words, work)
        return Fields(without_affine(itk_field(out), Image.load(work.path('fixed')), work.affine))

    @staticmethod
    def child(words: Sequence[str]) -> int:
        """Register two files from the affine in the third on; the warp goes to the fourth."""
        import torch
        from fireants.io import BatchedImages, Image
        from fireants.registration.greedy import GreedyRegistration

        from bidsreg.registration.itk import FLIP

        *_, device, threads, text = words
        options: dict[str, Any] = json.loads(text)
        torch.set_num_threads(int(threads))
        fixed, moving = (BatchedImages([Image.load_file(path, device=device)]) for path in words[:2])
        physical = FLIP @ np.loadtxt(words[2]) @ FLIP
        found = GreedyRegistration(
            fixed_images=fixed,
            moving_images=moving,
            deformation_type='compositive',
            init_affine=torch.as_tensor(physical, dtype=torch.float32, device=device)[None],
            **options,
        )
        found.optimize()
        found.save_as_ants_transforms([words[3]])
        return 0
