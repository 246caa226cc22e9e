"""Greedy diffeomorphic registration (picsl_greedy)."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from bidsreg.programs.base import Program, ProgramSettings
from bidsreg.programs.exchange import Fields, Workspace, itk_field
from bidsreg.programs.process import run_program, run_python


@dataclass(frozen=True)
class GreedySettings(ProgramSettings):
    """The settings of greedy; its smoothing stays as it comes.

    Attributes
    ----------
    metric : str
        ``NMI``: normalised mutual information.
    iterations : tuple of int
        One number for each level, coarse to fine.
    """

    few: ClassVar[Mapping[str, Any]] = {'iterations': (20, 10)}

    metric: str = 'NMI'
    iterations: tuple[int, ...] = (100, 50, 10)


class Greedy(Program[GreedySettings]):
    """The program on the PATH, else the Python package; warps are saved unrounded, both are its own."""

    name, package, distribution = 'greedy', 'picsl_greedy', 'picsl_greedy'
    description = 'greedy with normalised mutual information'
    peer = True
    leaves_out = ('fixed', 'moving')
    settings = GreedySettings()

    def missing(self) -> str:
        """Say what is absent and how to get it; a program on the PATH is enough."""
        return '' if shutil.which('greedy') else super().missing()

    def version(self) -> str:
        """Return the version of the program on the PATH, else that of the package."""
        program = shutil.which('greedy')
        return subprocess.check_output([program, '-version'], text=True).strip() if program else super().version()

    def run(self, workspace: Workspace) -> Fields:
        """Run the deformable mode."""
        chosen = self.used_settings(workspace.sloppy)
        fixed, moving = str(workspace.path('fixed')), str(workspace.path('moving'))
        masks = ['-gm', str(workspace.path('fixed_mask')), '-mm', str(workspace.path('moving_mask'))]
        forward, inverse = workspace.path('warp'), workspace.path('inverse')
        words = [
            *('-m', chosen.metric, '-n', 'x'.join(map(str, chosen.iterations)), '-threads', str(workspace.threads)),
            *('-it', str(workspace.plain_affine), '-i', fixed, moving, '-wp', '0'),
            *(masks if workspace.masked else []),
            *('-o', str(forward), '-oinv', str(inverse)),
        ]
        if program := shutil.which('greedy'):
            run_program([program, '-d', '3', *words], workspace)
        else:
            run_python(self.name, words, workspace)
        return Fields(itk_field(forward), itk_field(inverse))

    def child(self, words: Sequence[str]) -> int:
        """Call the package with these words."""
        from picsl_greedy import Greedy3D

        Greedy3D().execute(shlex.join(words))
        return 0
