"""Velocities on a small grid, with parameters shaken at random."""

import numpy as np
import torch

from bidsreg.registration.presets import preset

PRESET = preset('node-mind')


SHAPE, SPACING, TAPER = (13, 17, 9), np.array([4.0, 4.0, 5.0]), 12.0


SMALL, STEPS, ALPHA = (5, 4, 6), (2.0, 3.0, 2.5), 7.0


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def points(shape, spacing):
    """Where a grid's points are, in mm from its centre, (1, 3, X, Y, Z)."""
    axes = [(torch.arange(n) - (n - 1) / 2) * float(h) for n, h in zip(shape, spacing, strict=True)]
    return torch.stack(torch.meshgrid(*axes, indexing='ij'))[None].float()


def made(kind, seed=3, shape=SHAPE, chosen=PRESET):
    torch.manual_seed(seed)
    return kind(shape, SPACING, TAPER, chosen)


def values(network):
    """The velocity (K, 3, X, Y, Z), of a voxel cloud with all points at their grid places."""
    if not network.eulerian:
        state = points(SHAPE, SPACING)
        return network.at(torch.zeros(()), state)
    return network()


def shaken(network):
    """The same network with parameters that are not those it starts with."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for p in network.parameters():
            if p.requires_grad:
                p.add_(torch.randn(p.shape, generator=generator))
    return network
