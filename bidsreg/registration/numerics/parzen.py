"""Joint histograms with Parzen windows and their mutual information: to be optimised.

Cubic B-splines as windows make the histogram differentiable by the intensities (Thevenaz and Unser 2000, IEEE Trans.
Image Processing 9:2083-2099; Mattes et al. 2003, IEEE Trans. Medical Imaging 22:120-128). They add up to 1 at every
intensity, so the two marginals are the windowed histograms of the two images. To judge by: `information`.
"""

from __future__ import annotations

import numpy as np
import torch

Tensor = torch.Tensor

Range = tuple[float, float]
"""The intensities between which an image's bins lie."""

TAIL = 0.005
"""Fraction of the voxels below, and above, the range of an image."""


def value_range(values: Tensor, weight: Tensor, tail: float = TAIL) -> Range:
    """Return the intensities that leave out a fraction `tail` of the voxels on either side.

    Parameters
    ----------
    values, weight : Tensor
        Of the same shape; voxels with a positive weight count, all alike.
    tail : float
        In [0, 0.5).

    Returns
    -------
    tuple of float
        Low and high; of a flat image both are its value, and without any voxel they are 0 and 1.
    """
    inside = values[weight > 0]
    count = inside.numel()
    if not count:
        return 0.0, 1.0
    out = int(tail * count)
    if inside.device.type == 'cpu':
        # both at once
        ordered = np.partition(inside.numpy(), (out, count - out - 1))
        return float(ordered[out]), float(ordered[count - out - 1])
    return _ranks_by_torch(inside, out, count - out - 1)


def _ranks_by_torch(values: Tensor, first: int, second: int) -> Range:
    """Return two of the values (N,) in ascending order; on a GPU to sort is quicker than to look for one rank."""
    low, high = values.sort().values[[first, second]].tolist()
    return low, high


def bin_positions(values: Tensor, between: Range, bins: int) -> Tensor:
    """Return where intensities lie among the bins.

    Parameters
    ----------
    values : Tensor
        Intensities.
    between : tuple of float
        Low and high go to the bins 1 and `bins` - 2, so that no window reaches beyond the bins; what is outside is
        clamped, and has no gradient.
    bins : int
        How many, at least 4.
    """
    low, scale = bins_per_intensity(between, bins)
    return (1 + (values - low) * scale).clamp(1, bins - 2)


def bins_per_intensity(between: Range, bins: int) -> tuple[float, float]:
    """Return the intensity that lies at bin 1, and how many bins an intensity is wide; see `bin_positions`."""
    low, high = between
    return low, (bins - 3) / max(high - low, 1e-6)


def dense_windows(position: Tensor, bins: int) -> Tensor:
    """Return the cubic B-spline around each position as a row of all bins.

    Histograms are products of such matrices: on a GPU much faster than adding voxels to bins, and in one order.

    Parameters
    ----------
    position : Tensor, shape (N,)
        In [1, `bins` - 2].
    bins : int
        How many bins there are.

    Returns
    -------
    Tensor, shape (N, bins)
    """
    first, weights = cubic_windows(position, bins)
    return weights.new_zeros(len(position), bins).scatter_(1, _covered(first), weights.T)


def pulled_back(position: Tensor, by_window: Tensor) -> Tensor:
    """Return the gradient by positions from that by their windows: the adjoint of the slope of `dense_windows`.

    Parameters
    ----------
    position : Tensor, shape (N,)
        In [1, B - 2].
    by_window : Tensor, shape (N, B)
        What the result grows by with each bin of each position's window.

    Returns
    -------
    Tensor, shape (N,)
    """
    first, t = _cell(position, by_window.shape[1])
    s = 1 - t
    slopes = torch.stack([-s * s, t * (3 * t - 4), s * (4 - 3 * s), t * t], 1)
    return (slopes * by_window.gather(1, _covered(first))).sum(1) / 2


def _covered(first: Tensor) -> Tensor:
    """Return the four bins of each window, (N, 4), from the lowest ones."""
    return first.long()[:, None] + torch.arange(4, device=first.device)


def _cell(position: Tensor, bins: int) -> tuple[Tensor, Tensor]:
    """Return the lowest bin of each window, and how far in its cell the position lies, in [0, 1]."""
    cell = position.detach().floor().clamp(1, bins - 3)
    return cell.int() - 1, position - cell


def cubic_windows(position: Tensor, bins: int) -> tuple[Tensor, Tensor]:
    """Return the four bins that the cubic B-spline around each position covers.

    Parameters
    ----------
    position : Tensor, shape (N,)
        In [1, `bins` - 2].
    bins : int
        How many bins there are.

    Returns
    -------
    first : Tensor, shape (N,), int32
        The lowest of the four bins.
    weights : Tensor, shape (4, N)
        Of that bin and the three that follow; they add up to 1. Differentiable by the position.
    """
    first, t = _cell(position, bins)
    s = 1 - t
    weights = torch.stack([s**3, 4 - 3 * t**2 * (1 + s), 4 - 3 * s**2 * (1 + t), t**3]) / 6
    return first, weights


def joint_histograms(
    fixed: Tensor, moving: Tensor, weight: Tensor, bins: int, group: Tensor | None = None, groups: int = 1
) -> Tensor:
    """Return joint histograms of groups of voxels, differentiable by the moving positions.

    Each voxel is added to the 4 x 4 bins that its windows cover: less time and memory than a row of all bins for each.

    Parameters
    ----------
    fixed, moving : Tensor, shape (N,)
        Positions among the bins (`bin_positions`).
    weight : Tensor, shape (N,)
        What each voxel counts.
    bins : int
        Of either image.
    group : Tensor, shape (N,), int32, optional
        To which histogram each voxel goes, from 0; by default there is one.
    groups : int
        How many histograms.

    Returns
    -------
    Tensor, shape (groups, bins, bins)
        Rows are bins of the fixed image. Each adds up to the weight of its voxels.
    """
    with torch.no_grad():
        row, down = cubic_windows(fixed, bins)
        down = down * weight
        if group is not None:
            row = group * bins + row
        steps = torch.arange(4, dtype=torch.int32, device=fixed.device)
        corners = steps[:, None] * bins + steps
    column, across = cubic_windows(moving, bins)
    index = (row * bins + column) + corners[:, :, None]
    shares = down[:, None] * across
    flat = shares.new_zeros(groups * bins * bins).index_add(0, index.reshape(-1), shares.reshape(-1))
    return flat.view(groups, bins, bins)


def mutual_information(joint: Tensor) -> Tensor:
    """Return the mutual information H(fixed) + H(moving) - H(fixed, moving) of joint histograms.

    Parameters
    ----------
    joint : Tensor, shape (..., B, B)
        Not negative, of any total; an empty one has no information.

    Returns
    -------
    Tensor, shape (...)
        In nats, between 0 and ln B (but for rounding).
    """
    shares = joint / joint.sum((-2, -1), keepdim=True).clamp_min(1e-6)
    marginals = _entropy(shares.sum(-1)).sum(-1) + _entropy(shares.sum(-2)).sum(-1)
    return marginals - _entropy(shares).sum((-2, -1))


def _entropy(share: Tensor) -> Tensor:
    """Return -p ln p, with a finite slope at zero."""
    return -share * share.clamp_min(1e-12).log()
