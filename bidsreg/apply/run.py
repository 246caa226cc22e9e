"""Errands one after another: all are checked before the first begins, and one that fails leaves the others alone."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bidsreg import __version__
from bidsreg.apply.base import Carried, Errand, FileKind, Options
from bidsreg.apply.kinds import kind_of
from bidsreg.bids.names import sidecar
from bidsreg.bids.sidecars import read_json, to_json
from bidsreg.errors import InputError
from bidsreg.registration.atomic import write_atomic, write_text

LOGGER = logging.getLogger('bidsreg')


def carry_all(errands: Sequence[Errand], options: Options) -> list[InputError]:
    """Carry files, and log what was written and what is to be known about it.

    Parameters
    ----------
    errands
        The files.
    options
        How.

    Returns
    -------
    list of InputError
        What is wrong with files whose content turned out not to fit; the others are written.

    Raises
    ------
    InputError
        Before anything is written, if names, headers or outputs say that an errand cannot be done.
    """
    kinds = [kind_of(errand.source, options.kind) for errand in errands]
    _check_outputs(errands, options.overwrite)
    for errand, (kind, _) in zip(errands, kinds, strict=True):
        kind.check(errand, options)
    failed = []
    for errand, (kind, why) in zip(errands, kinds, strict=True):
        try:
            _carry(errand, kind, why, options)
        except InputError as error:
            failed.append(error)
    return failed


def _check_outputs(errands: Sequence[Errand], overwrite: bool) -> None:
    """Raise where a result would take the place of another one or of an input, or cannot be written."""
    taken: dict[Path, Path] = {}
    inputs = {path.resolve() for errand in errands for path in _inputs(errand)}
    for errand in errands:
        for path in filter(None, (errand.out, errand.sidecar)):
            real = path.resolve()
            if real in inputs:
                raise InputError(f'{path} is what is read; give another name with -o.')
            if real in taken:
                raise InputError(
                    f'{errand.source} and {taken[real]} would both become {path}: carry them one by one with -o.'
                )
            if path.is_dir():
                raise InputError(f'{path} is a folder; a file is to be written there.')
            if path.exists() and not overwrite:
                raise InputError(f'{path} exists already; give --overwrite or another name with -o.')
            taken[real] = errand.source
            _check_folder(path)


def _inputs(errand: Errand) -> list[Path]:
    legs = (*errand.route.images, *errand.route.points)
    return [errand.source, *([errand.reference] if errand.reference else []), *(leg.path for leg in legs)]


def _check_folder(path: Path) -> None:
    there = next(folder for folder in path.absolute().parents if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f'{path} cannot be written: {there} is no folder that you may write to.')


def _carry(errand: Errand, kind: FileKind, why: str, options: Options) -> None:
    outcome = Carried()

    def fill(hidden: Path) -> None:
        nonlocal outcome
        outcome = kind.carry(errand, options, hidden)

    try:
        write_atomic(errand.out, fill)
        if errand.sidecar is not None:
            write_text(errand.sidecar, to_json(_described(errand, kind, why, outcome)))
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = 'the disk is full' if full else error.strerror or str(error)
        raise InputError(f'{errand.out} cannot be written: {reason}.') from error
    for note in (*errand.route.notes, *outcome.notes):
        LOGGER.warning('%s: %s', errand.source.name, note)
    LOGGER.info('%s: %s, %s; written to %s', errand.source.name, kind.name, why, errand.out)


def _described(errand: Errand, kind: FileKind, why: str, outcome: Carried) -> dict[str, Any]:
    """Return what a sidecar says: what that of the source says, and how the file was carried."""
    own = read_json(sidecar(errand.source)) if sidecar(errand.source) != errand.source else None
    route = errand.route
    legs = route.images if kind.on_grid else route.points
    ways = f'from {route.origin} to {route.target}' if route.origin and route.target else 'through transforms'
    described = {
        **(own or {}),
        'Description': f'{errand.source.name}, carried {ways}',
        'Sources': [_uri(path, errand.dataset) for path in (errand.source, *(leg.path for leg in legs))],
        'Kind': f'{kind.name}, {why}',
        'Transforms': [{'Path': leg.path.name, 'Inverted': leg.inverted} for leg in legs],
        **outcome.facts,
        'Notes': [*route.notes, *outcome.notes],
        'GeneratedBy': [{'Name': 'bidsreg-apply', 'Version': __version__}],
    }
    if kind.on_grid and errand.reference is not None:
        described['SpatialReference'] = _uri(errand.reference, errand.dataset)
    return described


def _uri(path: Path, dataset: Path | None) -> str:
    """Return the BIDS URI of a file of the result's dataset, and for others that of the file."""
    if dataset is not None and path.resolve().is_relative_to(dataset.resolve()):
        return f'bids::{path.resolve().relative_to(dataset.resolve()).as_posix()}'
    return path.absolute().as_uri()


def describe_dataset(folder: Path) -> None:
    """Give a folder of results the description that makes it a dataset, where it has none."""
    description = folder / 'dataset_description.json'
    if folder.is_dir() and not description.exists():
        content = {
            'Name': 'Files carried by bidsreg-apply',
            'BIDSVersion': '1.10.0',
            'DatasetType': 'derivative',
            'GeneratedBy': [{'Name': 'bidsreg-apply', 'Version': __version__}],
        }
        write_text(description, to_json(content))
