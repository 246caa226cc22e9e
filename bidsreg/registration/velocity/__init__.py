"""What moves the points: small classes with one contract (:mod:`.base`), and their registry.

:mod:`.network` holds the Neural ODE's velocity, :mod:`.lddmm` the one with a metric, :mod:`.nodeo` the coupled cloud of
points, :mod:`.gridpoints` plain parameters; :mod:`.smoothing` is what they share.
"""

from __future__ import annotations

from bidsreg.registration.velocity.base import EulerianVelocity, FlowPath, LagrangianVelocity, StartPoints, Velocity
from bidsreg.registration.velocity.gridpoints import GridVelocity
from bidsreg.registration.velocity.lddmm import LddmmVelocity
from bidsreg.registration.velocity.network import NodeVelocity
from bidsreg.registration.velocity.nodeo import AveragingNodeoVelocity, NodeoVelocity

__all__ = ['VELOCITIES', 'EulerianVelocity', 'FlowPath', 'LagrangianVelocity', 'StartPoints', 'Velocity']

VELOCITIES: dict[str, type[Velocity]] = {
    'node': NodeVelocity,
    'lddmm': LddmmVelocity,
    'nodeo': NodeoVelocity,
    'nodeo-averaging': AveragingNodeoVelocity,
    'grid': GridVelocity,
}
"""The velocities by the names that a preset knows them by; add one of your own here."""
