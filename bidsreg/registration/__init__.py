"""The heart: diffeomorphic registration of two images with MIND and a Neural ODE. A plain torch library.

:func:`register` takes two :class:`Image` and a :class:`Preset` and gives a :class:`Result` with a :class:`Deformation`.
It makes the pair ready (:mod:`.problem`), optimises a velocity coarse to fine (:mod:`.optimise`), writes and checks the
fields (:mod:`.finish`), and judges them by evidence that was not optimised (:mod:`.evidence`). What is compared, what
moves the points and what keeps them smooth are three families, each with a base class and a registry at this door:
:class:`Similarity`, :class:`Velocity`, :class:`Regulariser`.

It knows nothing of BIDS, Nipype or the rest of the package. Names are imported on first use, so that the presets can be
listed without waiting for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bidsreg.registration.deformation import Deformation
    from bidsreg.registration.errors import FoldedError, RegistrationError
    from bidsreg.registration.events import Event, Progress
    from bidsreg.registration.flow import SOLVERS
    from bidsreg.registration.grid import Grid
    from bidsreg.registration.image import Image
    from bidsreg.registration.presets import PRESETS, Preset, preset
    from bidsreg.registration.regularity import REGULARISERS, Regulariser
    from bidsreg.registration.run import Result, register
    from bidsreg.registration.similarity import SIMILARITIES, Similarity
    from bidsreg.registration.velocity import (
        VELOCITIES,
        EulerianVelocity,
        FlowPath,
        LagrangianVelocity,
        StartPoints,
        Velocity,
    )

_HOMES = {
    'deformation': ('Deformation',),
    'errors': ('FoldedError', 'RegistrationError'),
    'events': ('Event', 'Progress'),
    'flow': ('SOLVERS',),
    'grid': ('Grid',),
    'image': ('Image',),
    'presets': ('PRESETS', 'Preset', 'preset'),
    'run': ('Result', 'register'),
    'regularity': ('REGULARISERS', 'Regulariser'),
    'similarity': ('SIMILARITIES', 'Similarity'),
    'velocity': ('VELOCITIES', 'EulerianVelocity', 'FlowPath', 'LagrangianVelocity', 'StartPoints', 'Velocity'),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    'PRESETS',
    'REGULARISERS',
    'SIMILARITIES',
    'SOLVERS',
    'VELOCITIES',
    'Deformation',
    'EulerianVelocity',
    'Event',
    'FlowPath',
    'FoldedError',
    'Grid',
    'Image',
    'LagrangianVelocity',
    'Preset',
    'Progress',
    'RegistrationError',
    'Regulariser',
    'Result',
    'Similarity',
    'StartPoints',
    'Velocity',
    'preset',
    'register',
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'{__name__}.{_HOME_OF[name]}'), name)
