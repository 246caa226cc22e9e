"""The methods that pairs.py compares: the presets of this package, the affine alone and the peers.

A peer is used when it can be found: ``ants-syn`` and ``convexadam`` as importable packages (antspyx, convexAdam),
``greedy`` as a program on the PATH or the package picsl_greedy, ``niftyreg`` as ``reg_f3d`` and ``reg_transform`` on
the PATH or in NIFTYREGDIR. Every peer is given the prepared affine to start from and does the deformable step only.
Between people the images have no background, and peers get no masks (see below for SyN; greedy lost 1.5 points of Dice
by them, NiftyReg 2.8). Within a head all of them came nearer the truth on whole heads, with masks where they take any,
than on skull-stripped ones (mean error on one head: SyN .66 against .69 mm, greedy .615 against .624, convexAdam .55
against .59, NiftyReg 1.10 against 1.25), so that is what they get.
Run as a script, this file is the command line of the peers that have none of their own.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from bidsreg.registration.deformation import Deformation
from bidsreg.registration.grid import Grid, apply_affine
from bidsreg.registration.image import Image
from bidsreg.registration.itk import read_affine
from bidsreg.registration.presets import PRESETS

LPS = np.array([-1, -1, 1], np.float32)


@dataclass(frozen=True, eq=False)
class Pair:
    """A pair made ready for every method.

    Attributes
    ----------
    name : str
        Folder of the data set and name in it.
    task : str
        ``'inter'``: two people, with labels. ``'intra'``: one head, with points whose truth is known.
    folder : Path
        Holds the files that :meth:`path` names.
    """

    name: str
    task: str
    folder: Path

    def path(self, what: str) -> Path:
        """The file of ``fixed``, ``fixed_mask``, ``fixed_labels``, the same of ``moving``, or ``resampled``."""
        return self.folder / f'{what}.nii.gz'

    @property
    def has_background(self) -> bool:
        """Whether the images show more than brains."""
        return self.task == 'intra'

    @property
    def itk_affine(self) -> Path:
        """Fixed world to moving world as ITK has it."""
        return self.folder / 'affine.txt'

    @property
    def plain_affine(self) -> Path:
        """The same as a plain 4x4 matrix, RAS+."""
        return self.folder / 'affine.mat'


class Method:
    """One way to register a pair: a command that is timed, and how to read what it wrote."""

    name = ''
    package = ''
    distribution = ''

    def missing(self) -> str:
        """Why it cannot run here; empty if it can."""
        return '' if importlib.util.find_spec(self.package) else f'the Python package {self.package} is not installed'

    def version(self) -> str:
        """Of the program."""
        return importlib.metadata.version(self.distribution)

    def settings(self, task: str) -> dict[str, Any]:
        """All that decides the result, so that a cell computed with other settings is not taken for this one."""
        words = self.command(Pair('', task, Path('PAIR')), Path('OUT'), 1)
        return {'command': ' '.join(['python' if word == sys.executable else Path(word).name for word in words])}

    def command(self, pair: Pair, out: Path, threads: int) -> list[str]:
        """The words to run; `out` is an empty folder."""
        raise NotImplementedError

    def read(self, pair: Pair, out: Path) -> Deformation:
        """What it found; the inverse is NaN where the tool gives none."""
        raise NotImplementedError

    def facts(self, out: Path) -> dict[str, Any]:
        """More that is worth knowing about the run."""
        return {}


class Affine(Method):
    """The common starting point, left as it is."""

    name, package, distribution = 'affine', 'bidsreg', 'bidsreg'

    def command(self, pair: Pair, out: Path, threads: int) -> list[str]:
        """Nothing to run."""
        return []

    def read(self, pair: Pair, out: Path) -> Deformation:
        """No displacement at all."""
        grid = Image.load(pair.path('fixed_mask')).grid
        still = np.zeros((*grid.shape, 3), np.float32)
        return Deformation(read_affine(pair.itk_affine), still, still, grid)


class Ours(Method):
    """A preset of this package, through bidsreg-pair: whole images and both masks.

    Between people it is the preset's form for them, ``-inter``, if it has one.
    """

    package, distribution = 'bidsreg', 'bidsreg'

    def __init__(self, name: str, options: Sequence[str] = ()):
        self.name, self.options = name, list(options)

    def settings(self, task: str) -> dict[str, Any]:
        """The preset's fields and the options."""
        return {'preset': dataclasses.asdict(PRESETS[self.preset(task)]), 'options': self.options}

    def preset(self, task: str) -> str:
        """Its name for a task."""
        between = f'{self.name}-inter'
        return between if task == 'inter' and between in PRESETS else self.name

    def command(self, pair: Pair, out: Path, threads: int) -> list[str]:
        """bidsreg-pair."""
        words = [sys.executable, '-m', 'bidsreg.registration.cli', str(pair.path('fixed')), str(pair.path('moving'))]
        for end in ('fixed', 'moving'):
            words += [f'--{end}-mask', str(pair.path(f'{end}_mask'))]
        words += ['--affine', str(pair.itk_affine), '--method', self.preset(pair.task), '--threads', str(threads)]
        return [*words, '--device', 'cpu', '-q', '--out', str(out / 'result'), *self.options]

    def read(self, pair: Pair, out: Path) -> Deformation:
        """The two composite transforms."""
        return Deformation.load(out / 'result/forward.h5', out / 'result/inverse.h5')

    def facts(self, out: Path) -> dict[str, Any]:
        """Iterations, and whether the deformation was kept."""
        result = json.loads((out / 'result/result.json').read_text())
        return {'iterations': result['iterations'], 'kept': result['decision']['kept']}


class AntsSyn(Method):
    """Symmetric normalisation with mutual information, at ANTs' usual three levels.

    The step is ANTsPy's .2: with antsRegistration's usual .1, labels of two people overlapped 1.9 points less (.745
    against .764). With masks they overlapped .770, but there were folds, and SDlogJ rose from .32 to .44.
    """

    name, package, distribution = 'ants-syn', 'ants', 'antspyx'

    def command(self, pair: Pair, out: Path, threads: int) -> list[str]:
        """The words of antsRegistration, through ANTsPy."""
        images = f'{pair.path("fixed")},{pair.path("moving")}'
        masks = ['--masks', f'[{pair.path("fixed_mask")},{pair.path("moving_mask")}]'] if pair.has_background else []
        return [
            *(sys.executable, __file__, self.name, '-d', '3', '--float', '1', '-o', str(out / 'syn_')),
            *('-r', str(pair.itk_affine), '-t', 'SyN[0.2,3,0]', '-m', f'MI[{images},1,32]'),
            *('-c', '[100x70x50,1e-6,10]', '-s', '2x1x0vox', '-f', '4x2x1', '--random-seed', '1', *masks),
        ]

    @staticmethod
    def run(words: list[str]) -> int:
        """What the command runs."""
        import ants

        return ants.registration(words, None)

    def read(self, pair: Pair, out: Path) -> Deformation:
        """Both warps; the affine is the one it was given."""
        return from_itk_warps(pair, out / 'syn_1Warp.nii.gz', out / 'syn_1InverseWarp.nii.gz')


class Greedy(Method):
    """Greedy diffeomorphic registration with normalised mutual information; warps are saved unrounded."""

    name, package, distribution = 'greedy', 'picsl_greedy', 'picsl_greedy'

    def missing(self) -> str:
        """A program or a package."""
        return '' if shutil.which('greedy') else super().missing()

    def version(self) -> str:
        """Of the program on the PATH, else of the package."""
        program = shutil.which('greedy')
        return subprocess.check_output([program, '-version'], text=True).strip() if program else super().version()

    def command(self, pair: Pair, out: Path, threads: int) -> list[str]:
        """The deformable mode of greedy with its own smoothing."""
        program = shutil.which('greedy')
        masks = ['-gm', str(pair.path('fixed_mask')), '-mm', str(pair.path('moving_mask'))]
        return [
            *([program] if program else [sys.executable, __file__, self.name]),
            *('-d', '3', '-m', 'NMI', '-n', '100x50x10', '-it', str(pair.plain_affine), '-threads', str(threads)),
            *('-i', str(pair.path('fixed')), str(pair.path('moving')), '-wp', '0'),
            *(masks if pair.has_background else []),
            *('-o', str(out / 'warp.nii.gz'), '-oinv', str(out / 'inverse.nii.gz')),
        ]

    @staticmethod
    def run(words: list[str]) -> int:
        """What the command runs."""
        from picsl_greedy import Greedy3D

        Greedy3D().execute(' '.join(words[2:]))  # without -d 3
        return 0

    def read(self, pair: Pair, out: Path) -> Deformation:
        """Both warps, as ITK has them."""
        return from_itk_warps(pair, out / 'warp.nii.gz', out / 'inverse.nii.gz')


class NiftyReg(Method):
    """Free-form deformation with normalised mutual information, as it comes: 5 voxels between control points."""

    name = 'niftyreg'

    @staticmethod
    def program(name: str) -> str | None:
        """Where one of its programs is."""
        folder = os.environ.get('NIFTYREGDIR')
        return shutil.which(name) or (folder and shutil.which(name, path=f'{folder}{os.pathsep}{folder}/bin')) or None

    def missing(self) -> str:
        """Two programs."""
        absent = [name for name in ('reg_f3d', 'reg_transform') if not self.program(name)]
        return f'{" and ".join(absent)} neither on the PATH nor in NIFTYREGDIR' if absent else ''

    def version(self) -> str:
        """Of reg_f3d."""
        return subprocess.check_output([self.program('reg_f3d'), '-v'], text=True).strip()

    def command(self, pair: Pair, out: Path, threads: int) -> list[str]:
        """reg_f3d."""
        mask = ['-rmask', str(pair.path('fixed_mask'))] if pair.has_background else []
        return [
            *(self.program('reg_f3d') or 'reg_f3d', '-voff', '-omp', str(threads), '--nmi'),
            *('-ref', str(pair.path('fixed')), '-flo', str(pair.path('moving')), '-aff', str(pair.plain_affine), *mask),
            *('-cpp', str(out / 'cpp.nii.gz'), '-res', str(out / 'warped.nii.gz')),
        ]

    def read(self, pair: Pair, out: Path) -> Deformation:
        """Turn control points into displacements, and take the affine off."""
        dense = out / 'displacement.nii.gz'
        words = [self.program('reg_transform'), '-ref', pair.path('fixed'), '-disp', out / 'cpp.nii.gz', dense]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        image = nib.load(dense)
        return without_affine(pair, np.asarray(image.dataobj).squeeze(), image.affine)


class ConvexAdam(Method):
    """Coupled convex optimisation of MIND-SSC, then Adam, with the package's own settings.

    It wants both images on one grid, so the moving image has been resampled through the affine. Its coarsest steps
    take blocks of 6 voxels: images are padded with background to multiples of 6, else it stretches its answer.
    """

    name, package, distribution = 'convexadam', 'convexAdam', 'convexAdam'
    block = 6

    def command(self, pair: Pair, out: Path, threads: int) -> list[str]:
        """Through Python."""
        images = [str(pair.path(what)) for what in ('fixed', 'resampled')]
        return [sys.executable, __file__, self.name, *images, str(out / 'displacement.npy'), str(threads)]

    @classmethod
    def run(cls, words: list[str]) -> int:
        """What the command runs: displacements in voxels, float32, shape (X, Y, Z, 3)."""
        import torch
        from convexAdam.convex_adam_MIND import convex_adam_pt

        torch.set_num_threads(int(words[3]))
        images = [np.asarray(nib.load(path).dataobj, np.float32) for path in words[:2]]
        shape = images[0].shape
        pad = [(0, -n % cls.block) for n in shape]
        found = convex_adam_pt(*[np.pad(image, pad) for image in images], device=torch.device('cpu'))
        np.save(words[2], found[tuple(slice(n) for n in shape)].astype(np.float32))
        return 0

    def read(self, pair: Pair, out: Path) -> Deformation:
        """From voxels to mm."""
        affine = nib.load(pair.path('fixed')).affine
        found = np.load(out / 'displacement.npy') @ affine[:3, :3].T.astype(np.float32)
        return deformation(pair, found, None, affine)


def deformation(pair: Pair, forward: np.ndarray, inverse: np.ndarray | None, affine: np.ndarray) -> Deformation:
    """Displacements in mm (RAS+) on a grid with the affine that the pair started from."""
    if not np.isfinite(forward).all():
        raise ValueError('the displacement field holds NaN or infinite values')
    grid = Grid(forward.shape[:3], affine)
    back = np.full_like(forward, np.nan) if inverse is None else inverse
    return Deformation(read_affine(pair.itk_affine), forward, back, grid)


def from_itk_warps(pair: Pair, forward: Path, inverse: Path) -> Deformation:
    """Read two warps as ITK writes them: shape (X, Y, Z, 1, 3), mm, LPS."""
    images = [nib.load(path) for path in (forward, inverse)]
    fields = [np.asarray(image.dataobj, np.float32).squeeze() * LPS for image in images]
    return deformation(pair, fields[0], fields[1], images[0].affine)


def without_affine(pair: Pair, total: np.ndarray, affine: np.ndarray) -> Deformation:
    """From displacements d with y = x + d(x) to u with y = A(x + u(x)); mm, RAS+, shape (X, Y, Z, 3)."""
    points = Grid(total.shape[:3], affine).to_world(np.moveaxis(np.indices(total.shape[:3]), 0, -1))
    back = apply_affine(np.linalg.inv(read_affine(pair.itk_affine)), points + total)
    return deformation(pair, (back - points).astype(np.float32), None, affine)


PEERS: dict[str, Method] = {peer.name: peer for peer in (AntsSyn(), NiftyReg(), Greedy(), ConvexAdam())}


def methods(options: Sequence[str] = ()) -> dict[str, Method]:
    """Every method by name; `options` go to bidsreg-pair."""
    return {'affine': Affine(), **{name: Ours(name, options) for name in PRESETS}, **PEERS}


if __name__ == '__main__':
    sys.exit(PEERS[sys.argv[1]].run(sys.argv[2:]))  # type: ignore[attr-defined]
