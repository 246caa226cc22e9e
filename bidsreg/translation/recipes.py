"""The translations by name, as frozen dataclasses. No torch here, so that command lines can list them at once."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass

from bidsreg.errors import InputError
from bidsreg.validation import check_choices, check_positive, coerce_fields

#: Packages that translation needs beside those of bidsreg, which come with the extra ``translation``.
NEEDED = ('monai', 'safetensors')
#: What a transport may cost, by the names of :data:`bidsreg.translation.costs.COSTS`.
COST_NAMES = ('intensity', 'inverted', 'mind')
#: More channels on the first level than any use of them has, or a larger model than a file should be able to ask for.
WIDEST = 256
#: The same for what a batch holds.
LARGEST_BATCH = 1024
MOST_DRAWS = 64


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides how a translator is trained, apart from the scans and the seed.

    Values are checked when the object is made.

    Attributes
    ----------
    name : str
        What the user calls it.
    steps : int
        Steps of the training.
    batch_size : int
        Slices of each domain in a step.
    width : int
        Channels of the networks on their first level; published widths are 48 and 64.
    learning_rate : float
        Of Adam.
    betas : tuple of (float, float)
        Of Adam.
    fading : bool
        Whether the learning rate falls linearly to zero over the second half of the steps.

    Raises
    ------
    InputError
        If a value is not of its type or out of its range.
    """

    name: str
    steps: int = 4000
    batch_size: int = 1
    width: int = 16
    learning_rate: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    fading: bool = True

    def __post_init__(self) -> None:
        coerce_fields(self)
        check_positive(self, ('steps', 'batch_size', 'width', 'learning_rate'))
        for name, most in (('width', WIDEST), ('batch_size', LARGEST_BATCH)):
            if getattr(self, name) > most:
                raise InputError(f'--{name.replace("_", "-")} must be at most {most}, not {getattr(self, name)}.')

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        left = 2 * (self.steps - step) / (self.steps + 1) if self.fading else 1.0
        return self.learning_rate * min(1.0, left)


@dataclass(frozen=True, kw_only=True)
class CycleGanRecipe(Recipe):
    """CycleGAN (Zhu et al. 2017, ICCV): there and back gives the slice again.

    Attributes
    ----------
    cycle, identity : float
        Weights of the L1 distances of a slice from itself there and back, and of a slice from its translation into the
        domain that it is of.
    """

    cycle: float = 10.0
    identity: float = 5.0


@dataclass(frozen=True, kw_only=True)
class CutRecipe(Recipe):
    """CUT (Park et al. 2020, ECCV): a patch and its translation are more alike than any two patches.

    Attributes
    ----------
    contrast : float
        Weight of PatchNCE.
    identity : bool
        Whether PatchNCE is taken of slices of the target domain, too.
    patches : int
        Places in a slice that are compared with one another, on each level.
    temperature : float
        Of the softmax.
    projection : int
        Width of the two-layer perceptrons.
    """

    contrast: float = 1.0
    identity: bool = True
    patches: int = 256
    temperature: float = 0.07
    projection: int = 256


@dataclass(frozen=True, kw_only=True)
class TransportRecipe(Recipe):
    """Neural optimal transport (Korotin et al. 2023, ICLR), strong: the map of least cost between the domains.

    Attributes
    ----------
    cost : str
        Key of the costs in :mod:`.costs`.
    inner : int
        Steps of the map for one of the potential.
    """

    batch_size: int = 4
    learning_rate: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)
    fading: bool = False
    cost: str = 'inverted'
    inner: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choices(self, {'cost': COST_NAMES})
        check_positive(self, ('inner',))


@dataclass(frozen=True, kw_only=True)
class WeakTransportRecipe(TransportRecipe):
    """Neural optimal transport, weak: many translations of one slice, whose spread costs less.

    Attributes
    ----------
    draws : int
        Translations of each slice in a step, and in the mean that is written.
    noise : float
        Standard deviation of the noise that tells them apart.
    spread : float
        By how much of their variance the cost is lessened in the end (gamma); reached after a quarter of the steps.
    """

    draws: int = 4
    noise: float = 0.1
    spread: float = 0.66

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 2 <= self.draws <= MOST_DRAWS:
            raise InputError(f'draws must lie between 2 and {MOST_DRAWS}, not {self.draws}.')

    def gamma(self, step: int) -> float:
        """Return by how much of the variance the cost is lessened in a step."""
        return self.spread * min(1.0, 4 * step / self.steps)


RECIPES: Mapping[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        CycleGanRecipe(name='cyclegan'),
        CutRecipe(name='cut'),
        TransportRecipe(name='not'),
        WeakTransportRecipe(name='not-weak'),
    )
}
"""The translations by name."""


def missing() -> str:
    """Say which packages are absent and how to get them; empty when translation can be used here."""
    absent = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if not absent:
        return ''
    kind = 'package' if len(absent) == 1 else 'packages'
    return f'the Python {kind} {" and ".join(absent)} {"is" if len(absent) == 1 else "are"} not installed; ' + (
        "pip install 'bidsreg[translation]'"
    )
