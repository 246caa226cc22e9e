"""The networks that translators share, MONAI's with our shapes: a generator, a discriminator, a critic."""

from __future__ import annotations

from typing import Any

import torch
from monai.networks.nets import BasicUNet, Critic, PatchDiscriminator
from torch import nn

Tensor = torch.Tensor

#: Channels on each level of the generator, in units of its width.
LEVELS = (1, 2, 4, 8, 8)
#: Convolution layers of the discriminator, as published: each of its answers is about 70 x 70 voxels.
DISCRIMINATOR_LAYERS = 3
#: Channels of the critic, in units of its width; each layer halves the slice.
CRITIC_LEVELS = (1, 2, 4, 8)


class Generator(nn.Module):
    """Translate slices: a U-Net of five levels.

    Parameters
    ----------
    width : int
        Channels on the first level.
    noise : int
        Further channels of its input.
    """

    def __init__(self, width: int, noise: int = 0) -> None:
        super().__init__()
        self.channels = tuple(width * level for level in LEVELS)
        # a fixed upsampling leaves no checkerboard, on which an adversary would thrive
        self.unet = BasicUNet(2, 1 + noise, 1, (*self.channels, width), upsample='nontrainable')

    def forward(self, values: Tensor, inside: Tensor) -> Tensor:
        """Translate slices.

        Parameters
        ----------
        values : Tensor, shape (B, 1 + noise, X, Y)
            Intensities in [0, 1], and noise; X and Y are multiples of 16.
        inside : Tensor, shape (B, 1, X, Y)
            1 where the brain is, else 0.

        Returns
        -------
        Tensor, shape (B, 1, X, Y)
            In [0, 1], 0 outside of the brain.
        """
        return torch.sigmoid(self.unet(values)) * inside

    def features(self, values: Tensor) -> list[Tensor]:
        """Return what the way down makes of slices, level by level: (B, C, X / 2^k, Y / 2^k) for k from 0 to 4."""
        unet = self.unet
        out: list[Tensor] = []
        for part in (unet.conv_0, unet.down_1, unet.down_2, unet.down_3, unet.down_4):
            out.append(part(out[-1] if out else values))
        return out


class Discriminator(nn.Module):
    """Tell patches of real slices, about 1, from those of translated ones, about 0 (PatchGAN)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        layers: dict[str, Any] = {'num_layers_d': DISCRIMINATOR_LAYERS, 'norm': 'INSTANCE'}
        self.net = PatchDiscriminator(2, 2 * width, 1, **layers)

    def forward(self, values: Tensor) -> Tensor:
        """Return an answer for each patch: (B, 1, X, Y) to (B, 1, X', Y')."""
        return self.net(values)[-1]


class Potential(nn.Module):
    """The potential of neural optimal transport: one number for a slice, from a residual network without a sigmoid."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        channels = tuple(2 * width * level for level in CRITIC_LEVELS)
        self.net = Critic((1, size, size), channels, (2,) * len(channels), norm=None, dropout=None)

    def forward(self, values: Tensor) -> Tensor:
        """Return the numbers of slices: (B, 1, S, S) to (B, 1)."""
        return self.net(values)
