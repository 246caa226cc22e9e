"""Free-form deformation by NiftyReg, through Nipype.

Run as a module, ``python -m bidsreg.programs.niftyreg``, it says where NiftyReg's programs are, or installs them.
"""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from bidsreg.programs.base import Program, ProgramSettings, SimilarityText
from bidsreg.programs.errors import ProgramError
from bidsreg.programs.exchange import Fields, Workspace, volume, without_affine, world_points
from bidsreg.programs.niftyreg_install import binary_version, find_binary, missing_binaries
from bidsreg.programs.process import run_program

if TYPE_CHECKING:
    from bidsreg.registration.image import Image


@dataclass(frozen=True)
class F3dSettings(ProgramSettings):
    """The settings of reg_f3d; the rest is as it comes: 5 voxels between control points, 3 levels.

    Attributes
    ----------
    similarity : str
        Option of reg_f3d: ``--nmi`` or ``--mindssc 1``.
    velocity : bool
        Whether a stationary velocity is found (a diffeomorphism, with an inverse), or a displacement.
    iterations : int
        At most, on the last level.
    """

    few: ClassVar[Mapping[str, Any]] = {'iterations': 10}

    similarity: str
    velocity: bool = False
    iterations: int = 150


REFERENCES = {
    'niftyreg': 'Modat M, Ridgway GR, Taylor ZA, et al. (2010). Fast free-form deformation using graphics processing '
    'units. Computer Methods and Programs in Biomedicine 98:278-284. doi:10.1016/j.cmpb.2009.09.002',
}
"""The reference of every paper that used NiftyReg."""
VELOCITY_REFERENCES = {
    'velocity': 'Modat M, Daga P, Cardoso MJ, Ourselin S, Ridgway GR, Ashburner J (2012). Parametric non-rigid '
    'registration using a stationary velocity field. IEEE Workshop on Mathematical Methods in Biomedical Image '
    'Analysis, 145-150. doi:10.1109/MMBIA.2012.6164745',
}
"""The reference to add where a velocity was found."""
SIMILARITY_TEXTS = {
    '--nmi': SimilarityText('normalised mutual information', 'maximising normalised mutual information'),
    '--mindssc 1': SimilarityText(
        'MIND-SSC',
        'minimising the distance of self-similarity contexts (MIND-SSC; Heinrich et al. 2013)',
        {
            'mind-ssc': 'Heinrich MP, Jenkinson M, Papiez BW, Brady M, Schnabel JA (2013). Towards realtime multimodal '
            'fusion for image-guided interventions using self-similarities. Medical Image Computing and '
            'Computer-Assisted Intervention, 187-194. doi:10.1007/978-3-642-40811-3_24',
        },
    ),
}
"""The words for each similarity, by the option of reg_f3d."""

NMI = F3dSettings('--nmi')
MIND = F3dSettings('--mindssc 1')


class NiftyReg(Program[F3dSettings]):
    """The free-form deformation of reg_f3d; it gives no inverse, and nothing keeps the deformation from folding."""

    leaves_out: tuple[str, ...] = ('fixed',)

    def __init__(self, name: str, settings: F3dSettings) -> None:
        text = SIMILARITY_TEXTS[settings.similarity]
        self.name, self.settings = name, settings
        self.description = f'NiftyReg with {text.name}'
        self.sentence = f'the free-form deformation of NiftyReg (Modat et al. 2010), {text.phrase}'
        self.references = {**REFERENCES, **text.references}

    def missing(self) -> str:
        """Say which of its programs are nowhere, and how to get them."""
        return missing_binaries()

    def version(self) -> str:
        """Return the version of reg_f3d."""
        return binary_version()

    def run(self, workspace: Workspace) -> Fields:
        """Run reg_f3d, then reg_transform for the displacements of its control points."""
        from bidsreg.registration.image import Image

        control = workspace.path('control')
        fixed = Image.load(workspace.path('fixed'))
        for name in ('moving', 'moving_mask'):
            along_axes(workspace.path(name), workspace.affine @ fixed.grid.affine)
        run_program(self.words(workspace, control), workspace)
        total = displacements(workspace, control, workspace.path('fixed'), 'total')
        return Fields(without_affine(total, fixed, workspace.affine), self.inverse(workspace, fixed))

    def words(self, workspace: Workspace, control: Path) -> list[str]:
        """Return the command line of reg_f3d, from Nipype's interface.

        Parameters
        ----------
        workspace : Workspace
            Where the pair is.
        control : Path
            Where the control points go.
        """
        from nipype.interfaces.niftyreg import RegF3D

        chosen = self.used_settings(workspace.sloppy)
        options: dict[str, Any] = {'rmask_file': str(workspace.path('fixed_mask'))} if workspace.masked else {}
        if workspace.masked and chosen.velocity:
            options['fmask_file'] = str(workspace.path('moving_mask'))
        if chosen.velocity:
            options['vel_flag'] = True
        return interface_words(
            RegF3D,
            'reg_f3d',
            ref_file=str(workspace.path('fixed')),
            flo_file=str(workspace.path('moving')),
            aff_file=str(workspace.plain_affine),
            maxit_val=chosen.iterations,
            cpp_file=str(control),
            res_file=str(workspace.path('warped')),
            omp_core_val=workspace.threads,
            verbosity_off_flag=True,
            # Nipype knows nothing of the MIND options
            args=chosen.similarity,
            **options,
        )

    def inverse(self, workspace: Workspace, fixed: Image) -> np.ndarray | None:
        """Return None: it gives no inverse."""
        return None


class NiftyRegVelocity(NiftyReg):
    """reg_f3d with a stationary velocity: a diffeomorphism, whose inverse it gives."""

    leaves_out = ('fixed', 'moving')

    def __init__(self, name: str, settings: F3dSettings) -> None:
        super().__init__(name, dataclasses.replace(settings, velocity=True))
        self.description += ', stationary velocity'
        self.sentence += ', with a stationary velocity field (Modat et al. 2012)'
        self.references = {**self.references, **VELOCITY_REFERENCES}

    def inverse(self, workspace: Workspace, fixed: Image) -> np.ndarray:
        """Return the displacements (X, Y, Z, 3) of the inverse of x + u(x), from those of the moving world, mm.

        They are asked for where the affine takes the fixed grid, so nothing is interpolated.
        """
        from bidsreg.registration.grid import Grid, apply_affine
        from bidsreg.registration.image import Image

        there = Grid(fixed.grid.shape, workspace.affine @ fixed.grid.affine)
        Image(fixed.data, there).save(workspace.path('there'))
        backward = workspace.folder / 'control_backward.nii'
        total = displacements(workspace, backward, workspace.path('there'), 'back')
        points = world_points(fixed)
        return (apply_affine(workspace.affine, points) + total - points).astype(np.float32)


def interface_words(interface: Any, name: str, **inputs: Any) -> list[str]:
    """Return the command line of one of Nipype's interfaces for a program wherever it is.

    Parameters
    ----------
    interface : type
        A subclass of Nipype's CommandLine.
    name : str
        The program's file name.
    **inputs
        What the interface is given.

    Raises
    ------
    ProgramError
        If the program is gone.
    """
    path = find_binary(name)
    if path is None:
        raise ProgramError(f'{name} is not there any more')
    line = interface(**inputs)
    return [path, *shlex.split(line.cmdline.removeprefix(line.cmd))]


def along_axes(path: Path, axes: np.ndarray) -> None:
    """Reorder and flip the voxel axes of an image so that they lie along others as well as can be; no voxel changes.

    reg_f3d 1.5.58 takes gradients of MIND along the axes of the fixed image for such along those of the moving one: it
    went the wrong way where, for example, one was LPI and the other RAS.

    Parameters
    ----------
    path : Path
        The NIfTI file, which is written anew.
    axes : ndarray, shape (4, 4)
        The others, as a voxel-to-world affine.
    """
    import nibabel as nib

    from bidsreg.registration.grid import Grid
    from bidsreg.registration.image import Image

    image = cast(nib.Nifti1Image, nib.load(path))
    turned = image.as_reoriented(nib.io_orientation(np.linalg.inv(axes) @ image.affine))
    data = np.ascontiguousarray(turned.dataobj)
    Image(data, Grid(data.shape, turned.affine)).save(path)


def displacements(workspace: Workspace, control: Path, reference: Path, name: str) -> np.ndarray:
    """Return the displacements (X, Y, Z, 3) in mm, RAS+, of the voxels of a reference image under control points.

    Parameters
    ----------
    workspace : Workspace
        Where reg_transform works.
    control : Path
        The control points that reg_f3d wrote.
    reference : Path
        The image at whose voxels they are asked for.
    name : str
        A free name in the workspace for what reg_transform writes.
    """
    from nipype.interfaces.niftyreg import RegTransform

    out = workspace.path(name)
    options = {'ref1_file': str(reference), 'disp_input': str(control), 'out_file': str(out)}
    words = interface_words(RegTransform, 'reg_transform', omp_core_val=workspace.threads, **options)
    run_program(words, workspace)
    return volume(out)


if __name__ == '__main__':
    from bidsreg.programs.niftyreg_install import main

    sys.exit(main())
