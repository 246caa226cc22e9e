"""The registry: every program by its name."""

from __future__ import annotations

from bidsreg.programs.anatomix import AnatomixConvexAdam
from bidsreg.programs.ants import CROSS_CORRELATION, MUTUAL_INFORMATION, AntsSyn
from bidsreg.programs.base import Program
from bidsreg.programs.convexadam import ConvexAdam
from bidsreg.programs.deeds import DeedsBcv
from bidsreg.programs.elastix import Elastix
from bidsreg.programs.fireants import FireAnts
from bidsreg.programs.greedy import Greedy
from bidsreg.programs.niftyreg import MIND, NMI, NiftyReg, NiftyRegVelocity
from bidsreg.programs.synthmorph import SynthMorph
from bidsreg.programs.syntx import Syntx
from bidsreg.programs.unigradicon import UniGradIcon

PROGRAMS: dict[str, Program] = {
    program.name: program
    for program in (
        AntsSyn('ants-syn', MUTUAL_INFORMATION),
        AntsSyn('ants-syn-cc', CROSS_CORRELATION),
        NiftyReg('niftyreg', NMI),
        NiftyRegVelocity('niftyreg-vel', NMI),
        NiftyReg('niftyreg-mind', MIND),
        NiftyRegVelocity('niftyreg-mind-vel', MIND),
        Greedy(),
        ConvexAdam(),
        FireAnts(),
        Elastix(),
        Syntx(),
        SynthMorph(),
        DeedsBcv(),
        AnatomixConvexAdam(),
        UniGradIcon(),
    )
}
"""Every program that ``bidsreg-pair`` offers."""

APP_PROGRAMS: dict[str, Program] = {name: program for name, program in PROGRAMS.items() if not program.peer}
"""The programs that the BIDS App offers as well."""
