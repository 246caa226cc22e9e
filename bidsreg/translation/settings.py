"""One frozen object with everything a training was asked to do."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bidsreg import LARGEST_SEED, SEED, __version__
from bidsreg.errors import InputError
from bidsreg.execution.devices import check_name
from bidsreg.translation.recipes import RECIPES, Recipe
from bidsreg.validation import check_choices, check_positive, check_within, coerce, field_types

CHOICES: dict[str, tuple[str, ...]] = {'bias_correction': ('n4', 'none')}
#: mm: voxels of the grids on which is trained.
SPACING = 2.0
#: mm: what is drawn of a slice on each side, in which a brain fits.
FIELD_MM = 192.0
#: Networks halve a slice four times.
BLOCK = 16
#: Finer or coarser grids than these (mm) are of no head.
SPACINGS = (0.3, 8.0)


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """Everything one training was asked to do. Values are checked when the object is made.

    Attributes
    ----------
    input, output_dir : Path
        A BIDS dataset (raw, or derivatives) or a table of scans; the folder for what comes out.
    source, target : str
        The contrasts: what is translated, and into what.
    recipe : Recipe
        The method.
    spacing : float
        mm: voxels of the grids on which is trained, and onto which scans are brought to be translated.
    seed : int
        Of the networks and of every draw.
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    threads : int
        CPU threads; 0: all there are.
    derivatives : tuple of Path
        Where brain masks are looked for; empty: ``derivatives/*`` of a BIDS dataset.
    bias_correction : str
        ``n4`` or ``none``; scans of derivatives are corrected already.
    every : int
        Steps between two checkpoints, each with a plot of the losses and a picture.
    verbose : int
        How often ``-v`` was given.

    Raises
    ------
    InputError
        If a value is not of its type or out of its range.
    """

    input: Path
    output_dir: Path
    source: str
    target: str
    recipe: Recipe
    spacing: float = SPACING
    seed: int = SEED
    device: str = 'auto'
    threads: int = 0
    derivatives: tuple[Path, ...] = ()
    bias_correction: str = 'n4'
    every: int = 500
    verbose: int = 0

    def __post_init__(self) -> None:
        for name, hint in field_types(type(self)).items():
            if name != 'recipe':
                object.__setattr__(self, name, coerce(name, getattr(self, name), hint))
        check_choices(self, CHOICES)
        check_name(self.device)
        check_positive(self, ('every',))
        check_within(self, 'seed', 0, LARGEST_SEED)
        check_within(self, 'threads', 0, math.inf)
        check_spacing(self.spacing, '--spacing')
        if self.source == self.target:
            raise InputError(f'--source and --target are both {self.source}: name two contrasts.')

    @property
    def is_table(self) -> bool:
        """Tell whether the input is a table of scans, not a BIDS dataset."""
        return not self.input.is_dir()

    @property
    def size(self) -> int:
        """Return the voxels on each side of what is drawn of a slice."""
        return size_for(self.spacing)

    def identity(self) -> dict[str, Any]:
        """Return what decides the model, apart from the scans: two trainings that differ in it share no folder."""
        kept = {name: getattr(self, name) for name in ('source', 'target', 'spacing', 'seed', 'bias_correction')}
        return {'version': __version__, **kept, 'recipe': as_dict(self.recipe)}


def size_for(spacing: float) -> int:
    """Return the voxels on each side of what is drawn of a slice with voxels of `spacing` mm."""
    return -int(-FIELD_MM // (spacing * BLOCK)) * BLOCK


def check_spacing(spacing: float, what: str) -> None:
    """Raise :class:`InputError` unless these are voxels (mm) in which a head can be seen; `what` begins the message."""
    least, most = SPACINGS
    if not least <= spacing <= most:
        raise InputError(f'{what} must lie between {least:g} and {most:g} mm, not {spacing:g}.')


def as_dict(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe as JSON-ready values."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(recipe).items()}


def recipe_from(values: Any) -> Recipe:
    """Return the recipe that :func:`as_dict` made values of.

    Raises
    ------
    InputError
        If these are no values of a known recipe.
    """
    name = values.get('name') if isinstance(values, dict) else None
    if not isinstance(name, str) or name not in RECIPES:
        raise InputError(f'there is no method {name!r}; known are {", ".join(RECIPES)}')
    kind = type(RECIPES[name])
    if set(values) != set(field_types(kind)):
        raise InputError(
            f'the settings of {name} are {", ".join(field_types(kind))}, not {", ".join(map(str, values))}'
        )
    return dataclasses.replace(RECIPES[name], **values)
