"""The request that bidsreg-pair was given, and the files that it names. No torch here."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from bidsreg import SEED
from bidsreg.pair.reading import read_mask

KEEP = ('better', 'diffeo')
"""The choices of ``--keep``: the affine where the deformation does harm by the evidence, or always the deformation."""

OPTIONAL_INPUTS = ('fixed_mask', 'moving_mask', 'fixed_lesion', 'moving_lesion', 'affine', 'start')
"""Fields that name files with data beside the two images; `register` has a parameter of each name."""


@dataclass(frozen=True, kw_only=True)
class PairRequest:
    """Everything that bidsreg-pair was asked to do; the parser explains each option.

    Attributes
    ----------
    fixed, moving : Path
        The two images.
    out : Path
        The folder for the results.
    fixed_mask, moving_mask : Path or None
        Brain masks, each on its image's grid.
    fixed_lesion, moving_lesion : Path or None
        Masks of what must not count.
    affine : Path or None
        Fixed world to moving world.
    start : tuple of Path or None
        Forward and inverse transform of an earlier run, instead of `affine`.
    method : str
        Name of a preset or a program.
    preset_file : Path or None
        Settings that differ from the preset.
    assignments : tuple of (str, str)
        Single settings as text, by field; the last one counts.
    working_resolution : float or None
        The finest grid worked on, mm.
    sloppy : bool
        Make few iterations at 2 mm or coarser.
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    threads : int or None
        CPU threads; None is all.
    seed : int
        The start of all random numbers.
    keep : str
        One of `KEEP`.
    overwrite, quiet : bool
        Replace `out` if it exists; print no progress.
    """

    fixed: Path
    moving: Path
    out: Path
    fixed_mask: Path | None = None
    moving_mask: Path | None = None
    fixed_lesion: Path | None = None
    moving_lesion: Path | None = None
    affine: Path | None = None
    start: tuple[Path, Path] | None = None
    method: str = 'node-mind'
    preset_file: Path | None = None
    assignments: tuple[tuple[str, str], ...] = ()
    working_resolution: float | None = None
    sloppy: bool = False
    device: str = 'auto'
    threads: int | None = None
    seed: int = SEED
    keep: str = KEEP[0]
    overwrite: bool = False
    quiet: bool = False

    @classmethod
    def from_arguments(cls, args: argparse.Namespace) -> PairRequest:
        """Take over what the parser of `bidsreg.pair.cli` read."""
        values: dict[str, Any] = {field.name: getattr(args, field.name) for field in fields(cls)}
        # argparse makes lists of what is given twice; a frozen request holds none
        return cls(**values | {name: tuple(value) for name, value in values.items() if isinstance(value, list)})

    def input_names(self) -> dict[str, str | list[str]]:
        """Return the paths of all files with data that were named, as text by field."""
        named = {name: getattr(self, name) for name in ('fixed', 'moving', *OPTIONAL_INPUTS)}
        return {
            name: [str(part) for part in path] if isinstance(path, tuple) else str(path)
            for name, path in named.items()
            if path
        }

    def read_inputs(self) -> dict[str, Any]:
        """Read what `register` is given beside the two images: only what was named, by its parameter.

        Returns
        -------
        dict
            Images, a 4x4 matrix for `affine`, a Deformation for `start`.

        Raises
        ------
        InputError, ValueError, OSError
            If a file cannot be read or is not what was asked for.
        """
        from bidsreg.registration import Deformation, itk

        readers: dict[str, Callable[[Any], Any]] = {
            'affine': itk.read_affine,
            'start': lambda paths: Deformation.load(*paths),
        }
        named = {name: getattr(self, name) for name in OPTIONAL_INPUTS}
        return {name: readers.get(name, read_mask)(path) for name, path in named.items() if path}
