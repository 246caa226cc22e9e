"""The methods by name, as frozen dataclasses. No torch here, so that command lines can list them at once."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

MOST_ITERATIONS = 300
"""Of an instance-specific optimisation, in all."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Everything that decides a registration's result, apart from the images and the seed.

    Attributes
    ----------
    name : str
        What the user calls it.
    similarity, velocity : str
        Keys of the registries in :mod:`.similarity` and :mod:`.velocity`.
    regularity : tuple of (str, float)
        Regularisers (keys of the registry in :mod:`.regularity`) with their weights. Each is an integral over space
        in mm^3, divided by the volume of the fixed mask, so a weight means the same on every grid.
    solver : str
        A torchdiffeq method, with fixed steps (``'euler'``, ``'midpoint'``, ``'rk4'``, ...) or adaptive ones
        (``'dopri5'``, ...).
    time_steps : int
        Solver steps over t in [0, 1] while optimising; the written fields take `solve.FINAL_STEPS` times as many.
    tolerance : float
        Of adaptive solvers, relative and absolute (in halves of the velocity grid's extent).
    adjoint : bool
        Gradients by the adjoint equation, solved backward in time, instead of through the solver's steps.
    time_knots : int
        Moments of time at which there is a velocity of its own, linear in between; 1 is stationary.
    levels : tuple of (float, int)
        Image grid spacing in mm, coarse to fine, and how many iterations on it.
    image_resolution : float
        mm: images are blurred as for a grid of this spacing where the level's is finer. Descriptors of sharper images
        are mostly descriptors of noise.
    velocity_spacing : float
        Spacing in mm of the grid on which the velocity lives.
    velocity_smoothing : float
        Standard deviation in mm of the Gaussian that smooths the velocity.
    kernel_alpha, kernel_power : float
        Of the operator (Id - alpha Laplacian)^power of `lddmm` and the V-norm; alpha in mm^2.
    loosened : tuple of (float, int)
        Factors on the weights to go on with on the finest grid, each with its iterations, for as long as held-out
        evidence improves: how much two scans differ is not known beforehand.
    learning_rate : float
        Root mean square step on each tensor of the network's parameters, see `optimiser`.
    channels : int
        Width of the velocity network.
    slope_tolerance : float
        A level stops early when its loss falls by less than this fraction over ten iterations.
    """

    name: str
    similarity: str = 'mind'
    velocity: str = 'node'
    regularity: tuple[tuple[str, float], ...] = (('h1', 1.0),)
    solver: str = 'rk4'
    time_steps: int = 1
    tolerance: float = 1e-4
    adjoint: bool = False
    time_knots: int = 1
    levels: tuple[tuple[float, int], ...] = ((4.0, 30), (2.0, 30), (1.0, 20))
    image_resolution: float = 2.0
    velocity_spacing: float = 4.0
    velocity_smoothing: float = 8.0
    kernel_alpha: float = 40.0
    kernel_power: float = 2.0
    loosened: tuple[tuple[float, int], ...] = ((0.2, 20),)
    learning_rate: float = 0.01
    channels: int = 8
    slope_tolerance: float = 1e-3

    def __post_init__(self) -> None:
        if self.iterations > MOST_ITERATIONS:
            raise ValueError(f'{self.name}: at most 300 iterations in all, not {self.levels} and {self.loosened}')

    @property
    def iterations(self) -> int:
        """Iterations in all, at most."""
        return sum(n for _, n in (*self.levels, *self.loosened))

    def at_resolution(self, finest: float) -> Preset:
        """The same with `finest` (mm) as the finest image grid, instead of the levels at that spacing or finer."""
        coarse = tuple(level for level in self.levels if level[0] > finest)
        rest = [n for spacing, n in self.levels if spacing <= finest]
        levels = (*coarse, (finest, rest[0] if rest else self.levels[-1][1]))
        return dataclasses.replace(self, levels=levels)

    def stiffer(self, factor: float) -> Preset:
        """The same with every weight of regularity multiplied by `factor`."""
        return dataclasses.replace(self, regularity=tuple((name, factor * w) for name, w in self.regularity))

    def sloppy(self) -> Preset:
        """A quick look for tests: no level finer than 2 mm, a third of the iterations."""
        quick = self.at_resolution(2.0) if self.levels[-1][0] < 2 else self
        levels, loosened = (tuple((x, max(n // 3, 5)) for x, n in y) for y in (quick.levels, quick.loosened))
        return dataclasses.replace(quick, levels=levels, loosened=loosened)

    def as_dict(self) -> dict[str, Any]:
        """The settings as JSON-ready values."""
        return dataclasses.asdict(self)

    def between_people(self) -> Preset:
        """The same method for two people's brains: large deformations, folded cortex.

        Finer velocities, much less stiffness against shear than against change of volume, so that Jacobians stay
        moderate, and no loosening: here how much is to be moved is known to be much.
        """
        (_, stiffness), *_ = self.regularity
        return dataclasses.replace(
            self,
            name=f'{self.name}-inter',
            levels=((3.0, 30), (2.0, 30), (1.0, 40)),
            regularity=(('h1', 0.005 * stiffness), ('divergence', 0.02 * stiffness)),
            velocity_spacing=2.0,
            velocity_smoothing=1.5,
            loosened=(),
            learning_rate=2 * self.learning_rate,
        )


NODE_MIND = Preset(name='node-mind')

WITHIN = (
    NODE_MIND,
    dataclasses.replace(NODE_MIND, name='node-mind-fast', levels=((4.0, 30), (2.0, 30)), loosened=((0.2, 20),)),
    dataclasses.replace(NODE_MIND, name='node-lddmm-mind', velocity='lddmm', time_knots=3, solver='rk4', time_steps=2),
    dataclasses.replace(NODE_MIND, name='nodeo-mind', velocity='nodeo', solver='euler', time_steps=2),
    dataclasses.replace(NODE_MIND, name='node-ngf', similarity='ngf'),
    dataclasses.replace(NODE_MIND, name='node-lmi', similarity='lmi'),
    dataclasses.replace(NODE_MIND, name='node-gmi', similarity='gmi'),
)

PRESETS: dict[str, Preset] = {p.name: p for p in (*WITHIN, *(p.between_people() for p in WITHIN))}
"""The methods by name: for two scans of one head, and with the suffix ``-inter`` for the heads of two people."""


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
