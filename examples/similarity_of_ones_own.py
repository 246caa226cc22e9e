#!/usr/bin/env python3
"""Register two images by a similarity of one's own: how strong edges are, whatever their direction.

    python examples/similarity_of_ones_own.py T1w.nii.gz T2w.nii.gz warped.nii.gz --fixed-mask brain.nii.gz

docs/extending.md tells of velocities, regularisers and programs of one's own.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from bidsreg.registration import PRESETS, SIMILARITIES, Image, Similarity, register

Tensor = torch.Tensor


def edges(volume: Tensor) -> Tensor:
    """Return the magnitude of the gradient by central differences, (1, 1, X, Y, Z) to (1, 1, X - 2, Y - 2, Z - 2)."""
    x, y, z = (
        volume.narrow(axis, 2, n - 2) - volume.narrow(axis, 0, n - 2) for axis, n in enumerate(volume.shape) if n > 1
    )
    squares = x[..., 1:-1, 1:-1].square() + y[..., 1:-1, :, 1:-1].square() + z[..., 1:-1, 1:-1, :].square()
    return (squares + 1e-6).sqrt()


class EdgeDifference(Similarity):
    """The mean squared difference of the strengths of edges, in squared units of intensity per two voxels."""

    support = 1  # an edge needs a neighbour on every side

    def features(self, fixed: Tensor) -> Tensor:
        """Return what is compared of the fixed image, once a level."""
        return edges(fixed)

    def sums(self, features: Tensor, warped: Tensor, weight: Tensor) -> Tensor:
        """Return the weighted sum of squared differences, and the sum of the weights."""
        return torch.stack([((edges(warped) - features).square() * weight).sum(), weight.sum()])


SIMILARITIES['edges'] = EdgeDifference


def main(argv: Sequence[str] | None = None) -> int:
    """Register the images that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ('fixed', 'moving', 'warped'):
        parser.add_argument(name, type=Path)
    parser.add_argument('--fixed-mask', type=Path, help='brain mask on the grid of the fixed image')
    parser.add_argument('--sloppy', action='store_true', help='few iterations, for trying things out')
    given = parser.parse_args(argv)
    method = dataclasses.replace(PRESETS['node-mind'], name='node-edges', similarity='edges')
    fixed, moving = Image.load(given.fixed), Image.load(given.moving)
    result = register(
        fixed,
        moving,
        method.sloppy() if given.sloppy else method,
        fixed_mask=Image.load(given.fixed_mask) if given.fixed_mask else None,
    )
    result.deformation.apply(moving, fixed.grid).save(given.warped)
    print(f'registered by {method.similarity}: {result.folds} folds')
    return 0


if __name__ == '__main__':
    sys.exit(main())
