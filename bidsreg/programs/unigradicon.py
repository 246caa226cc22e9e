"""The network uniGradICON with its refinement on the pair."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from bidsreg.programs.base import Program, ProgramSettings
from bidsreg.programs.exchange import Fields, Workspace, bring_moving, itk_field
from bidsreg.programs.process import run_program, run_python

WEIGHTS = 'UNIGRADICON_WEIGHTS'
"""The environment variable that names the file of its weights (Step_2_final.trch)."""


@dataclass(frozen=True)
class UniGradIconSettings(ProgramSettings):
    """The settings of uniGradICON.

    Attributes
    ----------
    iterations : int
        Of the refinement on the pair.
    similarity : str
        What is refined: ``mind``, since the two contrasts differ (``lncc`` as it comes).
    """

    few: ClassVar[Mapping[str, Any]] = {'iterations': 2}

    iterations: int = 50
    similarity: str = 'mind'


class UniGradIcon(Program[UniGradIconSettings]):
    """unigradicon-register on the PATH; it takes no masks here, and the field is inverted here.

    Each image fills the cube that the network sees: the moving one is brought onto the fixed grid through the affine.
    """

    name, package, distribution = 'unigradicon', 'unigradicon', 'unigradicon'
    description = 'uniGradICON, a network refined with MIND-SSC'
    peer = True
    uses_gpu = True
    settings = UniGradIconSettings()

    def missing(self) -> str:
        """Say what is absent: the package, or the file of its weights, which is not downloaded unasked."""
        if why := super().missing():
            return why
        if not shutil.which('unigradicon-register'):
            return 'unigradicon-register is not on the PATH'
        weights = os.environ.get(WEIGHTS, '')
        return '' if Path(weights).is_file() else f'{WEIGHTS} names no file of weights (Step_2_final.trch): {weights!r}'

    def run(self, workspace: Workspace) -> Fields:
        """Run the program, and have ITK turn its composite transform into displacements."""
        from bidsreg.registration.image import Image

        chosen, fixed = self.used_settings(workspace.sloppy), workspace.path('fixed')
        transform, out = workspace.folder / 'transform.hdf5', workspace.path('displacement')
        words: list[str | Path] = [
            *('unigradicon-register', '--fixed', fixed, '--fixed_modality', 'mri', '--moving_modality', 'mri'),
            *('--moving', bring_moving(workspace, Image.load(fixed).grid), '--transform_out', transform),
            *('--io_iterations', str(chosen.iterations), '--io_sim', chosen.similarity),
            *('--network_weights', Path(os.environ[WEIGHTS]).resolve()),
        ]
        run_program(words, workspace)
        run_python(self.name, [transform, fixed, out], workspace)
        return Fields(itk_field(out))

    def child(self, words: Sequence[str]) -> int:
        """Write the displacements of a transform at the voxels of an image."""
        import itk

        transform, image, out = words
        filled = itk.TransformToDisplacementFieldFilter[itk.Image[itk.Vector[itk.F, 3], 3], itk.D].New()
        filled.SetTransform(itk.transformread(transform)[0])
        filled.SetReferenceImage(itk.imread(image, itk.F))
        filled.SetUseReferenceImage(True)
        filled.Update()
        itk.imwrite(filled.GetOutput(), out)
        return 0
