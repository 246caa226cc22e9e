"""The registry of velocities."""

from __future__ import annotations

from torch import nn

from bidsreg.registration.velocity.gridpoints import GridVelocity
from bidsreg.registration.velocity.lddmm import LddmmVelocity
from bidsreg.registration.velocity.network import NodeVelocity
from bidsreg.registration.velocity.nodeo import AveragingNodeoVelocity, NodeoVelocity

VELOCITIES: dict[str, type[nn.Module]] = {
    'node': NodeVelocity,
    'lddmm': LddmmVelocity,
    'nodeo': NodeoVelocity,
    'nodeo-averaging': AveragingNodeoVelocity,
    'grid': GridVelocity,
}
