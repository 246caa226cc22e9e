"""Time-varying velocity fields by syntx."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bidsreg.programs.base import Program, ProgramSettings
from bidsreg.programs.exchange import Fields, Workspace, itk_field, without_affine, world_points
from bidsreg.programs.process import run_python

VERSION = '5.1.0'
"""The version that is asked for: 5.4.15 cannot be imported without antstorch, which is on no index."""


@dataclass(frozen=True)
class SyntxSettings(ProgramSettings):
    """What is given to ``syntx.tvf_registration``; the rest stays as it comes.

    Attributes
    ----------
    syn_metric : str
        ``mattes``: mutual information.
    reg_iterations : tuple of int
        One number for each level, coarse to fine.
    n_time_steps : int
        Velocities along the way.
    """

    few: ClassVar[Mapping[str, Any]] = {'reg_iterations': (10, 5, 0)}

    syn_metric: str = 'mattes'
    reg_iterations: tuple[int, ...] = (100, 100, 20)
    n_time_steps: int = 3


class Syntx(Program[SyntxSettings]):
    """syntx's velocities that change along the way, on the CPU; it takes no masks, and the field is inverted here."""

    name, package, distribution = 'syntx', 'syntx', 'syntx'
    description = 'syntx: time-varying velocities with mutual information'
    peer = True
    settings = SyntxSettings()

    def missing(self) -> str:
        """Say what is absent and how to get it; another version than the pinned one does not do."""
        get = f'pip install syntx=={VERSION}'
        if super().missing():
            return f'the Python package syntx is not installed; {get}'
        there = importlib.metadata.version(self.distribution)
        return '' if there == VERSION else f'syntx {there} is installed, and {VERSION} is needed; {get}'

    def run(self, workspace: Workspace) -> Fields:
        """Run the package in a Python process; what it writes is a warp, and an affine that comes after it."""
        from bidsreg.registration.grid import apply_affine
        from bidsreg.registration.image import Image
        from bidsreg.registration.itk import read_affine

        warp, affine = workspace.folder / 'warp.nii.gz', workspace.folder / 'found.mat'
        options = json.dumps(dataclasses.asdict(self.used_settings(workspace.sloppy)))
        files = [workspace.path('fixed'), workspace.path('moving'), workspace.itk_affine, warp, affine]
        run_python(self.name, [*files, str(workspace.threads), str(workspace.seed), options], workspace)
        fixed = Image.load(workspace.path('fixed'))
        points = world_points(fixed)
        total = apply_affine(read_affine(affine), points + itk_field(warp)) - points
        return Fields(without_affine(total, fixed, workspace.affine))

    def child(self, words: Sequence[str]) -> int:
        """Register two files from the affine in the third on; warp and affine go to the fourth and the fifth."""
        fixed, moving, start, warp, affine, threads, seed, text = words
        os.environ['CUDA_VISIBLE_DEVICES'] = ''  # it takes a GPU unasked
        tempfile.tempdir = str(Path(warp).parent)  # it leaves its files there
        import ants
        import syntx
        import torch

        torch.set_num_threads(int(threads))
        torch.manual_seed(int(seed))
        np.random.seed(int(seed) % 2**32)  # noqa: NPY002 - what it draws from
        options: dict[str, Any] = json.loads(text)
        found = syntx.tvf_registration(
            ants.image_read(fixed), ants.image_read(moving), initial_transform=start, affine_iterations=0, **options
        )
        for path, place in zip(found['fwdtransforms'], (warp, affine), strict=True):
            Path(path).replace(place)
        return 0
