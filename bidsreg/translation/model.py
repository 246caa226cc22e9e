"""A trained translation and its file: the weights of one generator, and in the header how it came about."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from bidsreg.bids.sidecars import read_json
from bidsreg.errors import InputError
from bidsreg.translation.networks import Generator
from bidsreg.translation.recipes import Recipe
from bidsreg.translation.registry import TRANSLATORS, translator_for
from bidsreg.translation.settings import CHOICES, FitSettings, as_dict, check_spacing, recipe_from, size_for
from bidsreg.translation.tensorfiles import digest_of, read_header, read_tensors, require_like, write_tensors

Tensor = torch.Tensor

#: Files of a training: what was asked for and came out, and the model.
MARKER, MODEL = 'fit.json', 'model.safetensors'
#: What a file says that it is, and of which layout.
KIND, LAYOUT = 'translation', 1
WHAT = 'a model of bidsreg-translate'
#: Packages whose versions are in the header.
PACKAGES = ('bidsreg', 'torch', 'monai')


@dataclass(frozen=True, eq=False)
class TranslationModel:
    """A trained translation.

    Attributes
    ----------
    recipe : Recipe
        How it was trained.
    source, target : str
        The contrasts.
    spacing : float
        mm: voxels of the grids it works on.
    bias_correction : str
        What the scans were corrected by that it learned from.
    generator : Generator
        The network.
    header : dict
        All that its file says of itself.
    digest : str
        SHA-256 of the file.
    """

    recipe: Recipe
    source: str
    target: str
    spacing: float
    bias_correction: str
    generator: Generator
    header: dict[str, Any]
    digest: str

    @property
    def size(self) -> int:
        """Return the voxels on each side of the slices that it was trained on."""
        return size_for(self.spacing)

    @torch.no_grad()
    def translate(self, values: Tensor, inside: Tensor) -> Tensor:
        """Translate slices: (B, 1, X, Y) in [0, 1] and where the brain is, to (B, 1, X, Y) in [0, 1]."""
        return TRANSLATORS[self.recipe.name].translate(self.generator, self.recipe, values, inside)

    @classmethod
    def load(cls, path: Path, device: str = 'cpu') -> TranslationModel:
        """Read a model.

        Raises
        ------
        InputError
            If the file is missing, truncated, or no model, or another than the training beside it wrote; the message
            names it.
        """
        known = _checked(path, read_header(path, WHAT))
        generator = TRANSLATORS[known['recipe'].name].new_generator(known['recipe'])
        header, tensors = read_tensors(path, WHAT)
        require_like(path, tensors, generator.state_dict(), WHAT)
        generator.load_state_dict(tensors)
        generator.requires_grad_(False).to(device)
        digest = digest_of(path)
        wrote = (read_json(path.with_name(MARKER)) or {}).get('model')
        if path.name == MODEL and isinstance(wrote, str) and wrote != f'sha256:{digest}':
            raise InputError(
                f'{path} is damaged: it is not what {path.with_name(MARKER)} says that the training wrote.'
            )
        return cls(**known, generator=generator, header=header, digest=digest)


def _checked(path: Path, header: dict[str, Any]) -> dict[str, Any]:
    """Return what a header says of a model, checked before anything is made by it."""
    if header.get('kind') != KIND:
        raise InputError(f'{path} is not {WHAT}: it says that it is {header.get("kind")!r}.')
    if header.get('layout') != LAYOUT:
        raise InputError(f'{path} has the layout {header.get("layout")!r}; this version of bidsreg reads {LAYOUT}.')
    try:
        recipe = recipe_from(header.get('recipe'))
        spacing = header.get('spacing')
        if not isinstance(spacing, int | float) or isinstance(spacing, bool):
            raise InputError(f'its spacing is {spacing!r}')
        check_spacing(spacing, 'its spacing')
        for name in ('source', 'target'):
            if not isinstance(header.get(name), str):
                raise InputError(f'its {name} is {header.get(name)!r}')
        if header.get('bias_correction') not in CHOICES['bias_correction']:
            raise InputError(f'its bias correction is {header.get("bias_correction")!r}')
    except InputError as error:
        raise InputError(f'{path} cannot be used as {WHAT}: {error}') from error
    kept = {name: header[name] for name in ('source', 'target', 'bias_correction')}
    return {'recipe': recipe, 'spacing': float(spacing), **kept}


def write_model(path: Path, generator: Generator, settings: FitSettings, heads: dict[str, int]) -> None:
    """Write a trained generator; the same training gives the same bytes.

    Parameters
    ----------
    path
        The file.
    generator
        The network.
    settings
        What the training was asked to do.
    heads
        How many people each contrast was of.
    """
    kept = {name: getattr(settings, name) for name in ('source', 'target', 'spacing', 'seed', 'bias_correction')}
    header = {
        'kind': KIND,
        'layout': LAYOUT,
        **kept,
        'recipe': as_dict(settings.recipe),
        'heads': heads,
        'versions': {name: version(name) for name in PACKAGES},
    }
    write_tensors(path, generator.state_dict(), header)


def untrained(settings: FitSettings) -> Any:
    """Return the translator that a training starts from; the same seed gives the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return translator_for(settings.recipe, settings.size)
