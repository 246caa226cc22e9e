"""Greedy diffeomorphic registration (picsl_greedy)."""

from __future__ import annotations

import dataclasses
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from bidsreg.programs.base import Fields, Program, Workspace, itk_field, run_program, run_python


@dataclass(frozen=True)
class GreedySettings:
    """What decides a result of greedy; its own smoothing.

    Attributes
    ----------
    metric : str
        ``NMI``: normalised mutual information.
    iterations : tuple of int
        Of each level, coarse to fine.
    """

    metric: str = 'NMI'
    iterations: tuple[int, ...] = (100, 50, 10)

    def sloppy(self) -> GreedySettings:
        """Few iterations, for tests."""
        return dataclasses.replace(self, iterations=(20, 10))


class Greedy(Program):
    """The program on the PATH, else the Python package; warps are saved unrounded, both are its own."""

    name, package, distribution = 'greedy', 'picsl_greedy', 'picsl_greedy'
    description = 'greedy with normalised mutual information'
    peer = True
    settings = GreedySettings()

    def missing(self) -> str:
        """What is absent and how to get it."""
        return '' if shutil.which('greedy') else super().missing()

    def version(self) -> str:
        """Of the program on the PATH, else of the package."""
        program = shutil.which('greedy')
        return subprocess.check_output([program, '-version'], text=True).strip() if program else super().version()

    def run(self, work: Workspace) -> Fields:
        """The deformable mode."""
        chosen = self.used_settings(work.sloppy)
        masks = ['-gm', str(work.path('fixed_mask')), '-mm', str(work.path('moving_mask'))]
        forward, inverse = work.path('warp'), work.path('inverse')
        words = [
            *('-m', chosen.metric, '-n', 'x'.join(map(str, chosen.iterations)), '-threads', str(work.threads)),
            *('-it', str(work.plain_affine), '-i', str(work.path('fixed')), str(work.path('moving')), '-wp', '0'),
            *(masks if work.masked else []),
            *('-o', str(forward), '-oinv', str(inverse)),
        ]
        if program := shutil.which('greedy'):
            run_program([program, '-d', '3', *words], work)
        else:
            run_python(self.name, words, work)
        return Fields(itk_field(forward), itk_field(inverse))

    @staticmethod
    def child(words: Sequence[str]) -> int:
        """Call the package with these words."""
        from picsl_greedy import Greedy3D

        Greedy3D().execute(shlex.join(words))
        return 0
