"""Coupled convex optimisation and Adam on the features of a network (anatomix) beside MIND-SSC."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bidsreg.programs.base import Program, ProgramSettings
from bidsreg.programs.errors import ProgramError
from bidsreg.programs.exchange import Fields, Workspace, bring_moving, volume
from bidsreg.programs.process import run_program

WEIGHTS = 'ANATOMIX_WEIGHTS'
"""The environment variable that names the file of its weights (anatomix.pth)."""
SCRIPT = 'anatomix.registration.run_convex_adam_with_network_feats'
"""Its module for registration."""


@dataclass(frozen=True)
class AnatomixSettings(ProgramSettings):
    """The settings of its registration; all but the iterations stay as they come.

    Attributes
    ----------
    selected_niter : int
        Iterations of Adam.
    """

    few: ClassVar[Mapping[str, Any]] = {'selected_niter': 10}

    selected_niter: int = 80


class AnatomixConvexAdam(Program[AnatomixSettings]):
    """anatomix's own script; it takes no masks here, gives no inverse, and works on a GPU only."""

    name, package, distribution = 'anatomix+convexadam', 'anatomix', 'anatomix'
    description = 'convexAdam with features of anatomix and MIND-SSC, on a GPU'
    peer = True
    uses_gpu = True
    settings = AnatomixSettings()

    def missing(self) -> str:
        """Say what is absent: the package, which is on no index, or the file of its weights."""
        if super().missing():
            return 'the Python package anatomix is not installed; pip install git+https://github.com/neel-dey/anatomix'
        weights = os.environ.get(WEIGHTS, '')
        return '' if Path(weights).is_file() else f'{WEIGHTS} names no file of weights (anatomix.pth): {weights!r}'

    def run(self, workspace: Workspace) -> Fields:
        """Run the script; its displacements come in voxels, and the settings are in the name of their file.

        Raises
        ------
        ProgramError
            Without a GPU, and if the script fails.
        """
        from bidsreg.registration.image import Image

        if workspace.device == 'cpu':
            raise ProgramError(f'{self.name} works on a GPU only: give one with --device')
        image = workspace.folder / 'fixed.nii.gz'
        fixed = Image.load(workspace.path('fixed'))
        fixed.save(image)
        words: list[str | Path] = [
            *(sys.executable, '-m', SCRIPT, '--fixed', image),
            *('--moving', bring_moving(workspace, fixed.grid, '.nii.gz'), '--exp_name', 'bidsreg'),
            *('--ckpt_path', Path(os.environ[WEIGHTS]).resolve(), '--result_path', workspace.folder),
            *('--selected_niter', str(self.used_settings(workspace.sloppy).selected_niter)),
        ]
        run_program(words, workspace)
        written = sorted(workspace.folder.glob('disp_resampled_*_bidsreg.nii.gz'))
        if len(written) != 1:
            raise ProgramError(f'{self.name} left {len(written)} files of displacements')
        return Fields(volume(written[0]) @ fixed.grid.affine[:3, :3].T.astype(np.float32))
