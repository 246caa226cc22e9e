"""The methods by name, as frozen dataclasses. No torch here, so that command lines can list them at once."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

MOST_ITERATIONS = 300
"""Of an instance-specific optimisation, in all."""
FIT_ITERATIONS = 60
"""Those of them that bring the velocity to an earlier deformation, where one is given to start from."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Everything that decides a registration's result, apart from the images and the seed.

    Attributes
    ----------
    name : str
        What the user calls it.
    similarity, velocity : str
        Keys of the registries in :mod:`.similarity` and :mod:`.velocity`.
    beside : tuple of (str, float)
        Further similarities, each with its weight, that are added to `similarity` (whose weight is 1).
    beside_spacing : float
        mm: those further similarities look at no finer image grid than this.
    regularity : tuple of (str, float)
        Regularisers (keys of the registry in :mod:`.regularity`) with their weights. Each is an integral over space
        in mm^3, divided by the volume in which images are compared (the fixed mask, grown by `reach`), so a weight
        means the same on every grid.
    solver : str
        A torchdiffeq method, with fixed steps (``'euler'``, ``'midpoint'``, ``'rk4'``, ...) or adaptive ones
        (``'dopri5'``, ...).
    time_steps : int
        Solver steps over t in [0, 1] while optimising; the written fields of an Eulerian velocity take
        `finish.FINAL_STEPS` times as many.
    tolerance : float
        Of adaptive solvers, relative and absolute: in voxels of the velocity's grid, or in mm for a cloud of points.
    adjoint : bool
        Gradients by the adjoint equation, solved backward in time, instead of through the solver's steps.
    time_knots : int
        Moments of time at which there is a velocity of its own, linear in between; 1 is stationary.
    levels : tuple of (float, int)
        Image grid spacing in mm, coarse to fine, and how many iterations on it.
    patches : tuple of int
        Radius in voxels of the patches that MIND and MIND-SSC compare, on each level; the last one for any that follow
        and for `loosened`.
    image_resolution : float
        mm: images are blurred as for a grid of this spacing where the level's is finer. Descriptors of sharper images
        are mostly descriptors of noise.
    reach : float
        mm around the fixed mask in which images are still compared: the rim of the brain says where it lies, and within
        one head skull and meninges go with it.
    outline : float
        Everything outside of an image's mask is made so much darker than the darkest within, where 1 is from there to
        the brightest; 0 leaves images as they are. Two brains have nothing in common outside but that it is outside,
        and without that cerebrospinal fluid, as dark in a T1w as nothing, has no outer border.
    compression : float
        Where both masks are given, intensities become asinh(`compression` times their distance from the median within
        the mask, in interquartile ranges) before they are scaled; 0 leaves them as they are. Fluid, several times as
        bright in a T2w as the rest of a brain, would take the range of intensities that tells grey from white matter.
    velocity_spacing : float
        Spacing in mm of the grid on which the velocity lives.
    velocity_smoothing : float
        Standard deviation in mm of the Gaussian that smooths the velocity.
    kernel_alpha, kernel_power : float
        Of the operator (Id - alpha Laplacian)^power of `lddmm` and the V-norm; alpha in mm^2.
    loosened : tuple of (float, int)
        Factors on the weights to go on with on the finest grid, each with its iterations, for as long as held-out
        evidence improves: how much two scans differ is not known beforehand.
    loosened_levels : tuple of (float, int)
        Coarser image grids (mm) that each of those goes through first, with their iterations.
    learning_rate : float
        Root mean square step on each tensor of the network's parameters, see `optimiser`.
    channels : int
        Width of the velocity network.
    slope_tolerance : float
        A level stops early when its loss falls by less than this fraction over ten iterations.
    """

    name: str
    similarity: str = 'mind'
    beside: tuple[tuple[str, float], ...] = ()
    beside_spacing: float = 0.0
    velocity: str = 'node'
    regularity: tuple[tuple[str, float], ...] = (('bending', 1000.0),)
    solver: str = 'rk4'
    time_steps: int = 1
    tolerance: float = 1e-4
    adjoint: bool = False
    time_knots: int = 1
    levels: tuple[tuple[float, int], ...] = ((4.0, 10), (2.0, 10), (1.0, 5))
    patches: tuple[int, ...] = (1, 1, 1, 0)
    image_resolution: float = 2.0
    reach: float = 8.0
    outline: float = 0.0
    compression: float = 0.0
    velocity_spacing: float = 4.0
    velocity_smoothing: float = 8.0
    kernel_alpha: float = 40.0
    kernel_power: float = 2.0
    loosened: tuple[tuple[float, int], ...] = ((0.0045, 20),)
    loosened_levels: tuple[tuple[float, int], ...] = ((4.0, 20), (2.0, 20))
    learning_rate: float = 0.01
    channels: int = 8
    slope_tolerance: float = 1e-3

    def __post_init__(self) -> None:
        for name, fewest in (('levels', 1), ('loosened_levels', 0)):
            levels = getattr(self, name)
            spacings = [spacing for spacing, _ in levels]
            sane = spacings == sorted(spacings, reverse=True) and all(spacing > 0 for spacing in spacings)
            if len(spacings) < fewest or not sane:
                raise ValueError(f'{self.name}: {name} go from coarse to fine, in mm above zero, not {levels}')
        if self.iterations > MOST_ITERATIONS:
            raise ValueError(
                f'{self.name}: at most {MOST_ITERATIONS} iterations in all, not {self.levels} and {self.rounds}'
            )

    @property
    def similarities(self) -> tuple[tuple[str, float, float], ...]:
        """What is compared, each with its weight, and on which image grid (mm) at the finest."""
        return ((self.similarity, 1.0, 0.0), *((name, weight, self.beside_spacing) for name, weight in self.beside))

    @property
    def iterations(self) -> int:
        """Iterations in all, at most."""
        return sum(n for levels in (self.levels, *(levels for _, levels in self.rounds)) for _, n in levels)

    @property
    def rounds(self) -> tuple[tuple[float, tuple[tuple[float, int], ...]], ...]:
        """The factors of `loosened`, each with the levels that it goes through: none is finer than the finest level."""
        finest = self.levels[-1][0]
        coarser = tuple(level for level in self.loosened_levels if level[0] > finest)
        return tuple((factor, (*coarser, (finest, n))) for factor, n in self.loosened)

    def patch(self, level: int) -> int:
        """Return the radius in voxels of the patches on a level (0 is the coarsest), or on `loosened` (-1)."""
        return self.patches[min(level, len(self.patches) - 1)]

    def at_resolution(self, finest: float) -> Preset:
        """Return the same with `finest` (mm) as the finest image grid, instead of levels that fine or finer.

        A loosened round keeps its iterations: those of its levels that are left out are done on the finest one.
        """
        coarse = tuple(level for level in self.levels if level[0] > finest)
        rest = [n for spacing, n in self.levels if spacing <= finest]
        levels = (*coarse, (finest, rest[0] if rest else self.levels[-1][1]))
        coarser = tuple(level for level in self.loosened_levels if level[0] > finest)
        moved = sum(n for spacing, n in self.loosened_levels if spacing <= finest)
        loosened = tuple((factor, n + moved) for factor, n in self.loosened)
        return dataclasses.replace(self, levels=levels, loosened=loosened, loosened_levels=coarser)

    def stiffer(self, factor: float) -> Preset:
        """Return the same with every weight of regularity multiplied by `factor`."""
        return dataclasses.replace(self, regularity=tuple((name, factor * w) for name, w in self.regularity))

    def sloppy(self) -> Preset:
        """Return a quick look for tests: no level finer than 2 mm, a third of the iterations, ten at least."""
        quick = self.at_resolution(2.0) if self.levels[-1][0] < 2 else self
        levels, loosened, coarser = (
            tuple((x, min(n, max(n // 3, 10))) for x, n in some)
            for some in (quick.levels, quick.loosened, quick.loosened_levels)
        )
        return dataclasses.replace(quick, levels=levels, loosened=loosened, loosened_levels=coarser)

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as JSON-ready values."""
        return dataclasses.asdict(self)


WITHIN = Preset(name='node-mind')
"""Two scans of one head: small, smooth deformations, of an unknown size.

The defaults of `Preset` are its numbers. They were tuned by experiments/pairs.py on simulated heads 01 to 06 (01,
03, 04 and 05 most), whose distortions of up to 4 mm are known, with three real sessions in view. The size of the steps
and the iterations were chosen on heads 01, 03, 05 and 07 at 1 mm, and 02, 05 and 07 at 2 mm, these also with a further
warp that left 5 mm in the mean after the affine; heads 08, 09 and 10 were looked at once, when they stood.
"""

DESCRIPTORS_BETWEEN = Preset(
    name='node-mind-inter',
    similarity='mind-ssc',
    levels=((4.0, 30), (3.0, 30), (2.0, 40), (1.0, 30)),
    patches=(1, 1, 0, 0),
    image_resolution=1.6,
    reach=3.0,
    velocity_spacing=2.0,
    velocity_smoothing=1.3,
    # stiffer against change of volume than against shear, so that Jacobians stay moderate
    regularity=(('h1', 0.01), ('divergence', 0.03)),
    solver='midpoint',
    loosened=(),
    loosened_levels=(),
    learning_rate=0.03,
)
"""The brains of two people by descriptors alone, which the paper's other presets start from.

Tuned by experiments/pairs.py and experiments/ablation.py on simulated contrasts of the labelled pairs 01-02, 03-04 and
05-06 (03-04 most).
"""

BETWEEN = dataclasses.replace(
    DESCRIPTORS_BETWEEN.stiffer(2.5),
    beside=(('gmi', 0.1), ('lncc', 0.1)),
    levels=((8.0, 30), (4.0, 30), (3.0, 30), (2.0, 40), (1.0, 30)),
    patches=(1, 1, 1, 0, 0),
    outline=1.0,
    compression=1.0,
)
"""The brains of two people: large deformations, folded cortex.

Descriptors alone stop where neighbouring tissue looks alike; what an intensity means in the whole brain, and how edges
run together, takes them further. Weights and levels were chosen among forty settings on the simulated pairs 03-04 and
07-08 and on four pairs of real scans of two patients (experiments/real_pairs.py), `outline` among five values on one of
the real ones and seen to help on another one and both simulated ones before it was kept (docs/methods.md). With
`compression` fields are rougher: the stiffness, 2 before, brings SDlogJ below .40 again, in the mean of six pairs.
"""

LDDMM: dict[str, Any] = {'velocity': 'lddmm', 'time_knots': 3, 'time_steps': 2, 'learning_rate': 0.02}
NODEO: dict[str, Any] = {'velocity': 'nodeo', 'solver': 'euler', 'time_steps': 2, 'learning_rate': 0.005}
MILD: dict[str, Any] = {
    'levels': ((4.0, 30), (2.0, 30), (1.0, 20)),
    'loosened': ((0.2, 30),),
    'loosened_levels': (),
    'patches': (1, 0),
}
"""Steps for weights that are near their aim from the start."""


def _variant(base: Preset, name: str, stiffness: float = 1.0, **changes: Any) -> Preset:
    """Return another method for the same task; similarities have scales of their own, hence the stiffness."""
    ending = base.name.removeprefix('node-mind')
    return dataclasses.replace(base.stiffer(stiffness), name=name + ending, **changes)


PRESETS: dict[str, Preset] = {
    p.name: p
    for p in (
        WITHIN,
        _variant(WITHIN, 'node-mind-fast', levels=((4.0, 10), (2.0, 10)), loosened=((0.0045, 40),)),
        _variant(WITHIN, 'node-lddmm-mind', regularity=(('v-norm', 1e-3),), **LDDMM, **MILD),
        _variant(
            WITHIN,
            'nodeo-mind',
            regularity=(('h1-displacement', 1.0), ('l2', 1e-4), ('jacobian', 1.0)),
            **NODEO,
            **MILD,
        ),
        # chosen by experiments/pairs.py at 2 mm, in factors of two from 1.25 on, on simulated heads 03 and 05
        _variant(WITHIN, 'node-ngf', 10.0, similarity='ngf'),
        _variant(WITHIN, 'node-lmi', 40.0, similarity='lmi'),
        _variant(WITHIN, 'node-gmi', 80.0, similarity='gmi'),
        # chosen by experiments/one_contrast.py among 1, 5, 20, 80 and 320, on simulated heads 02 and 04
        _variant(WITHIN, 'node-lncc', 80.0, similarity='lncc'),
        BETWEEN,
        _variant(
            BETWEEN,
            'node-mind-fast',
            levels=((8.0, 30), (4.0, 30), (3.0, 30), (2.0, 50)),
            velocity_spacing=3.0,
            velocity_smoothing=1.5,
        ),
        _variant(
            DESCRIPTORS_BETWEEN,
            'node-lddmm-mind',
            regularity=(('v-norm', 1e-4), ('h1', 0.005), ('divergence', 0.03)),
            velocity='lddmm',
            time_knots=2,
            kernel_alpha=1.0,
        ),
        _variant(
            DESCRIPTORS_BETWEEN,
            'nodeo-mind',
            regularity=(('h1-displacement', 0.12), ('l2', 1e-5), ('jacobian', 20.0)),
            velocity_smoothing=2.0,
            **NODEO,
        ),
        _variant(DESCRIPTORS_BETWEEN, 'node-ngf', 5.0, similarity='ngf'),
        _variant(DESCRIPTORS_BETWEEN, 'node-lmi', 5.0, similarity='lmi'),
        _variant(DESCRIPTORS_BETWEEN, 'node-gmi', 10.0, similarity='gmi'),
        _variant(DESCRIPTORS_BETWEEN, 'node-lncc', 10.0, similarity='lncc'),
    )
}
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
