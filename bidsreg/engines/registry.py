"""The engines by name."""

from __future__ import annotations

from bidsreg.engines.ants import CROSS_CORRELATION, MUTUAL_INFORMATION, AntsSyn
from bidsreg.engines.base import Engine
from bidsreg.engines.convexadam import ConvexAdam
from bidsreg.engines.fireants import FireAnts
from bidsreg.engines.greedy import Greedy
from bidsreg.engines.niftyreg import MIND, NMI, NiftyReg, NiftyRegVelocity

ENGINES: dict[str, Engine] = {
    engine.name: engine
    for engine in (
        AntsSyn('ants-syn', MUTUAL_INFORMATION),
        AntsSyn('ants-syn-cc', CROSS_CORRELATION),
        NiftyReg('niftyreg', NMI),
        NiftyRegVelocity('niftyreg-vel', NMI),
        NiftyReg('niftyreg-mind', MIND),
        NiftyRegVelocity('niftyreg-mind-vel', MIND),
        Greedy(),
        ConvexAdam(),
        FireAnts(),
    )
}
"""Every engine that ``bidsreg-pair`` offers."""

BASELINES: dict[str, Engine] = {name: engine for name, engine in ENGINES.items() if not engine.peer}
"""Those that the BIDS App offers as well."""
