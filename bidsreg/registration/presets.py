"""The methods by name, as frozen dataclasses. No torch here, so that command lines can list them at once."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Everything that decides a registration's result, apart from the images and the seed.

    Attributes
    ----------
    name : str
        What the user calls it.
    similarity, velocity, regulariser : str
        Keys of the registries in :mod:`.similarity`, :mod:`.velocity` and :mod:`.regularity`.
    solver : str
        A torchdiffeq method with fixed steps, ``'euler'`` or ``'rk4'``.
    time_steps : int
        Solver steps over t in [0, 1] while optimising; the written fields take `solve.FINAL_STEPS` times as many.
    levels : tuple of (float, int)
        Image grid spacing in mm, coarse to fine, and how many iterations on it.
    velocity_spacing : float
        Spacing in mm of the grid on which the velocity lives.
    velocity_smoothing : float
        Standard deviation in mm of the Gaussian that smooths the velocity.
    regularity_weight : float
        Weight of the regulariser. H1 is dimensionless (mm/mm), so the weight means the same on every grid.
    loosened : tuple of (float, int)
        Smaller weights to go on with on the finest grid, each with its iterations, for as long as held-out evidence
        improves: how much two scans differ is not known beforehand.
    learning_rate : float
        Step of Adam on the network's parameters.
    channels : int
        Width of the velocity network.
    slope_tolerance : float
        A level stops early when its loss falls by less than this fraction over ten iterations.
    """

    name: str
    similarity: str = 'mind'
    velocity: str = 'node'
    regulariser: str = 'h1'
    solver: str = 'rk4'
    time_steps: int = 1
    levels: tuple[tuple[float, int], ...] = ((4.0, 40), (2.0, 30), (1.0, 25))
    velocity_spacing: float = 4.0
    velocity_smoothing: float = 8.0
    regularity_weight: float = 1.0
    loosened: tuple[tuple[float, int], ...] = ((0.2, 20),)
    learning_rate: float = 0.005
    channels: int = 8
    slope_tolerance: float = 1e-3

    def __post_init__(self) -> None:
        if sum(n for _, n in (*self.levels, *self.loosened)) > 300:
            raise ValueError(f'{self.name}: at most 300 iterations in all, not {self.levels} and {self.loosened}')

    def at_resolution(self, finest: float) -> Preset:
        """The same with `finest` (mm) as the finest image grid, instead of the levels at that spacing or finer."""
        coarse = tuple(level for level in self.levels if level[0] > finest)
        rest = [n for spacing, n in self.levels if spacing <= finest]
        levels = (*coarse, (finest, rest[0] if rest else self.levels[-1][1]))
        return dataclasses.replace(self, levels=levels)

    def sloppy(self) -> Preset:
        """A quick look for tests: no level finer than 2 mm, a third of the iterations."""
        quick = self.at_resolution(2.0) if self.levels[-1][0] < 2 else self
        levels, loosened = (tuple((x, max(n // 3, 5)) for x, n in y) for y in (quick.levels, quick.loosened))
        return dataclasses.replace(quick, levels=levels, loosened=loosened)

    def as_dict(self) -> dict[str, Any]:
        """The settings as JSON-ready values."""
        return dataclasses.asdict(self)


PRESETS: dict[str, Preset] = {p.name: p for p in (Preset(name='node-mind'),)}


def preset(name: str) -> Preset:
    """Look a preset up by name.

    Raises
    ------
    ValueError
        If there is none of that name; the message lists those there are.
    """
    try:
        return PRESETS[name]
    except KeyError:
        raise ValueError(f"unknown method '{name}'; known are: {', '.join(PRESETS)}") from None
