"""Heads on odd grids, and the pixels of the pictures that are drawn of them."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
from PIL import Image

from tests import data

GRIDS = [name for name in data.GRIDS if name != 'sheared']


def scan_on(name, contrast='T1w'):
    """Return a head on one of the grids of :data:`tests.data.GRIDS`."""
    shape, affine = data.GRIDS[name]
    return data.head(shape, 0, contrast, affine, centre=(120, -340, 260) if name == 'far' else (0, 0, 0))


def rasters(path):
    """Return the pixels of every raster of an SVG."""
    found = re.findall(r'base64,([^"]+)"', Path(path).read_text())
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(code)))) for code in found]
