"""The registry of velocities."""

from __future__ import annotations

from torch import nn

from bidsreg.registration.gridvelocity import GridVelocity
from bidsreg.registration.lddmm import LddmmVelocity
from bidsreg.registration.nodeo import AveragingNodeoVelocity, NodeoVelocity
from bidsreg.registration.velocity import NodeVelocity

VELOCITIES: dict[str, type[nn.Module]] = {
    'node': NodeVelocity,
    'lddmm': LddmmVelocity,
    'nodeo': NodeoVelocity,
    'nodeo-averaging': AveragingNodeoVelocity,
    'grid': GridVelocity,
}
