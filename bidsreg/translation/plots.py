"""Pictures of a training: what was lost, and slices before and after."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from bidsreg.registration.atomic import write_atomic
from bidsreg.translation.model import TranslationModel
from bidsreg.translation.stacks import translate_volume
from bidsreg.translation.volumes import WorldBrain

DPI = 90
#: Points of a curve of the losses, each the mean of the steps around it.
POINTS = 200


def draw_losses(path: Path, names: Sequence[str], history: Sequence[Sequence[float]]) -> None:
    """Draw each loss over the steps, in a plot of its own: their scales differ.

    Parameters
    ----------
    path
        PNG file.
    names
        Of the losses.
    history
        The losses of each step.
    """
    values = np.asarray(history, dtype=float).reshape(-1, len(names))
    figure = Figure(figsize=(3.2 * len(names), 2.8), layout='constrained')
    axes = figure.subplots(1, len(names), squeeze=False)[0]
    edges = np.unique(np.linspace(0, len(values), min(POINTS, len(values)) + 1).astype(int))
    for axis, name, column in zip(axes, names, values.T, strict=True):
        means = [column[a:b].mean() for a, b in itertools.pairwise(edges)]
        axis.plot((edges[:-1] + edges[1:]) / 2, means, linewidth=1)
        axis.set_title(name)
        axis.set_xlabel('step')
        axis.grid(alpha=0.3)
    _save(figure, path)


def draw_samples(path: Path, model: TranslationModel, source: WorldBrain, target: WorldBrain, device: str) -> None:
    """Draw the middle slices across each axis of a brain, its translation, and a brain of the target domain.

    Parameters
    ----------
    path
        PNG file.
    model
        As it is now.
    source, target
        A brain of each domain.
    device
        A torch device.
    """
    rows = (
        (model.source, source.values),
        (f'translated into {model.target}', translate_volume(model, source, device)),
        (f'{model.target} of another head', target.values),
    )
    figure = Figure(figsize=(9, 9.4), layout='constrained')
    for line, (title, values) in zip(figure.subplots(len(rows), 3), rows, strict=True):
        for axis, picture in enumerate(line):
            cut = np.take(values, values.shape[axis] // 2, axis)
            picture.imshow(cut.T, cmap='gray', origin='lower', vmin=0, vmax=1)
            picture.axis('off')
        line[0].set_title(title, loc='left')
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    write_atomic(path, lambda hidden: figure.savefig(hidden, dpi=DPI, format='png'))
