"""The methods that pairs.py compares: the presets of this package, the affine alone and the programs.

All but the affine run through bidsreg-pair, on the same images and masks, from the prepared affine on, and are judged
by their own fields (``--keep diffeo``). Within a head programs use the masks, where they take any: all of them came
nearer the truth on whole heads than on skull-stripped ones (mean error on one head: SyN .66 against .69 mm, greedy .615
against .624, convexAdam .55 against .59, NiftyReg 1.10 against 1.25). Between people the images have no background, and
programs then leave the masks out: greedy lost 1.5 points of Dice by them, NiftyReg 2.8; with masks SyN's overlap was
.770 instead of .764, but there were folds, and SDlogJ rose from .32 to .44.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bidsreg.programs import PROGRAMS, Program
from bidsreg.registration.deformation import Deformation
from bidsreg.registration.image import Image
from bidsreg.registration.itk import read_affine
from bidsreg.registration.presets import PRESETS

KEEP = ['--keep', 'diffeo']
"""Every method is judged by its own answer."""


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
        """The file of ``fixed``, ``fixed_mask``, ``fixed_labels``, or the same of ``moving``."""
        return self.folder / f'{what}.nii.gz'

    @property
    def itk_affine(self) -> Path:
        """Fixed world to moving world as ITK has it."""
        return self.folder / 'affine.txt'


class Method(ABC):
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

    @abstractmethod
    def command(self, pair: Pair, out: Path, threads: int) -> list[str]:
        """The words to run; `out` is an empty folder."""

    @abstractmethod
    def read(self, pair: Pair, out: Path) -> Deformation:
        """What it found; the inverse is NaN where the tool gives none."""

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
    """A preset of this package, through bidsreg-pair.

    Between people it is the preset's form for them, ``-inter``, if it has one.
    """

    package, distribution = 'bidsreg', 'bidsreg'

    def __init__(self, name: str, options: Sequence[str] = ()):
        self.name, self.options = name, [*KEEP, *options]

    def settings(self, task: str) -> dict[str, Any]:
        """The preset's fields and the options."""
        return {'preset': dataclasses.asdict(PRESETS[self.preset(task)]), 'options': self.options}

    def preset(self, task: str) -> str:
        """Its name for a task."""
        between = f'{self.name}-inter'
        return between if task == 'inter' and between in PRESETS else self.name

    def command(self, pair: Pair, out: Path, threads: int) -> list[str]:
        """bidsreg-pair."""
        return pair_command(pair, out, threads, self.preset(pair.task), self.options)

    def read(self, pair: Pair, out: Path) -> Deformation:
        """The two composite transforms."""
        return Deformation.load(out / 'result/forward.h5', out / 'result/inverse.h5')

    def facts(self, out: Path) -> dict[str, Any]:
        """Iterations, what was kept, and what is better by the evidence."""
        result = json.loads((out / 'result/result.json').read_text())
        return {'iterations': result['iterations'], **{key: result['decision'][key] for key in ('kept', 'better')}}


class Other(Method):
    """A program of this package, through bidsreg-pair as well."""

    def __init__(self, program: Program):
        self.program, self.name = program, program.name

    def missing(self) -> str:
        """As the program says."""
        return self.program.missing()

    def version(self) -> str:
        """Of its program."""
        return self.program.version()

    def settings(self, task: str) -> dict[str, Any]:
        """The program's."""
        return self.program.as_dict()

    def command(self, pair: Pair, out: Path, threads: int) -> list[str]:
        """bidsreg-pair."""
        return pair_command(pair, out, threads, self.name, KEEP)

    def read(self, pair: Pair, out: Path) -> Deformation:
        """The two composite transforms."""
        return Deformation.load(out / 'result/forward.h5', out / 'result/inverse.h5')


def pair_command(pair: Pair, out: Path, threads: int, method: str, options: Sequence[str]) -> list[str]:
    """The words of bidsreg-pair on whole images and both masks, from the prepared affine on."""
    words = [sys.executable, '-m', 'bidsreg.pair', str(pair.path('fixed')), str(pair.path('moving'))]
    for end in ('fixed', 'moving'):
        words += [f'--{end}-mask', str(pair.path(f'{end}_mask'))]
    words += ['--affine', str(pair.itk_affine), '--method', method, '--threads', str(threads)]
    return [*words, '--device', 'cpu', '-q', '--out', str(out / 'result'), *options]


def methods(options: Sequence[str] = ()) -> dict[str, Method]:
    """Every method by name; `options` go to bidsreg-pair."""
    others = {name: Other(program) for name, program in PROGRAMS.items()}
    return {'affine': Affine(), **{name: Ours(name, options) for name in PRESETS}, **others}
