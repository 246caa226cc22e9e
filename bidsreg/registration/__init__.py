"""The heart: diffeomorphic registration of two images with MIND and a Neural ODE. A plain torch library."""

from bidsreg.registration.deformation import Deformation
from bidsreg.registration.grid import Grid
from bidsreg.registration.image import Image
from bidsreg.registration.presets import PRESETS, Preset, preset
from bidsreg.registration.solve import Result, register

__all__ = ['PRESETS', 'Deformation', 'Grid', 'Image', 'Preset', 'Result', 'preset', 'register']
