"""The heart: diffeomorphic registration of two images with MIND and a Neural ODE. A plain torch library.

Names are imported on first use, so that the presets can be listed without waiting for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bidsreg.registration.deformation import Deformation
    from bidsreg.registration.grid import Grid
    from bidsreg.registration.image import Image
    from bidsreg.registration.presets import PRESETS, Preset, preset
    from bidsreg.registration.solve import Result, register

_HOMES = {
    'Deformation': 'deformation',
    'Grid': 'grid',
    'Image': 'image',
    'PRESETS': 'presets',
    'Preset': 'presets',
    'preset': 'presets',
    'Result': 'solve',
    'register': 'solve',
}

__all__ = ['PRESETS', 'Deformation', 'Grid', 'Image', 'Preset', 'Result', 'preset', 'register']


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'{__name__}.{_HOMES[name]}'), name)
