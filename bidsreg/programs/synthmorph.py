"""SynthMorph, the network of FreeSurfer that registers brains of any contrast (mri_synthmorph)."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from bidsreg.programs.base import Program, ProgramSettings
from bidsreg.programs.exchange import Fields, Workspace, bring_moving, volume
from bidsreg.programs.process import run_program


@dataclass(frozen=True)
class SynthMorphSettings(ProgramSettings):
    """The settings of its deformable model, as they come.

    Attributes
    ----------
    regularisation : float
        Weight of the smoothness, between 0 and 1.
    steps : int
        Integration steps.
    extent : int
        Voxels of 1 mm along each side of the cube that the network sees: 192 or 256.
    """

    few: ClassVar[Mapping[str, Any]] = {'steps': 5, 'extent': 192}

    regularisation: float = 0.5
    steps: int = 7
    extent: int = 256


class SynthMorph(Program[SynthMorphSettings]):
    """The deformable model of mri_synthmorph on the PATH; it takes no masks, and both warps are its own.

    It reads an affine as an LTA only, so the moving image is brought onto the fixed grid through it. Warps hold
    displacements in mm, RAS+, on the grid of the image that is fixed, as surfa writes them.
    """

    name = 'synthmorph'
    description = 'SynthMorph, a network trained on synthetic contrasts'
    peer = True
    uses_gpu = True
    settings = SynthMorphSettings()

    def missing(self) -> str:
        """Say that the program is not on the PATH, where it is not."""
        return '' if shutil.which('mri_synthmorph') else 'mri_synthmorph is not on the PATH; install FreeSurfer 8'

    def run(self, workspace: Workspace) -> Fields:
        """Run the deformable model, which assumes an affine."""
        from bidsreg.registration.image import Image

        chosen, fixed = self.used_settings(workspace.sloppy), workspace.path('fixed')
        forward, inverse = (workspace.folder / f'{name}.nii.gz' for name in ('forward', 'inverse'))
        words: list[str | Path] = [
            *('mri_synthmorph', '-m', 'deform', '-j', str(workspace.threads), '-r', f'{chosen.regularisation:g}'),
            *('-n', str(chosen.steps), '-e', str(chosen.extent), '-t', forward, '-T', inverse),
            *(['-g'] if workspace.device != 'cpu' else []),
            *(bring_moving(workspace, Image.load(fixed).grid), fixed),
        ]
        run_program(words, workspace)
        return Fields(volume(forward), volume(inverse))
