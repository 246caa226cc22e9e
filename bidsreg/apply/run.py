"""Tasks done one after another: all are checked before the first begins, and one that fails leaves the others alone."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bidsreg import __version__
from bidsreg.apply.base import Carried, FileKind, Options, Task
from bidsreg.apply.kinds import kind_of
from bidsreg.bids.names import sidecar
from bidsreg.bids.sidecars import read_json, to_json
from bidsreg.errors import InputError
from bidsreg.registration.atomic import write_atomic, write_text

LOGGER = logging.getLogger('bidsreg')


def carry_all(tasks: Sequence[Task], options: Options) -> list[InputError]:
    """Carry files, and log what was written and what is to be known about it.

    Parameters
    ----------
    tasks
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
        Before anything is written, if names, headers or outputs say that a task cannot be done.
    """
    kinds = [kind_of(task.source, options.kind) for task in tasks]
    _check_outputs(tasks, options.overwrite)
    for task, (kind, _) in zip(tasks, kinds, strict=True):
        kind.check(task, options)
    failed = []
    for task, (kind, why) in zip(tasks, kinds, strict=True):
        try:
            _carry(task, kind, why, options)
        except InputError as error:
            failed.append(error)
    return failed


def _check_outputs(tasks: Sequence[Task], overwrite: bool) -> None:
    """Raise where a result would take the place of another one or of an input, or cannot be written."""
    taken: dict[Path, Path] = {}
    inputs = {path.resolve() for task in tasks for path in _inputs(task)}
    for task in tasks:
        for path in filter(None, (task.out, task.sidecar)):
            real = path.resolve()
            if real in inputs:
                raise InputError(f'{path} is what is read; give another name with -o.')
            if real in taken:
                raise InputError(
                    f'{task.source} and {taken[real]} would both become {path}: carry them one by one with -o.'
                )
            if path.is_dir():
                raise InputError(f'{path} is a folder; a file is to be written there.')
            if path.exists() and not overwrite:
                raise InputError(f'{path} exists already; give --overwrite or another name with -o.')
            taken[real] = task.source
            _check_folder(path)


def _inputs(task: Task) -> list[Path]:
    legs = (*task.route.images, *task.route.points)
    return [task.source, *([task.reference] if task.reference else []), *(leg.path for leg in legs)]


def _check_folder(path: Path) -> None:
    there = next(folder for folder in path.absolute().parents if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f'{path} cannot be written: {there} is no folder that you may write to.')


def _carry(task: Task, kind: FileKind, why: str, options: Options) -> None:
    outcome = Carried()

    def fill(hidden: Path) -> None:
        nonlocal outcome
        outcome = kind.carry(task, options, hidden)

    try:
        write_atomic(task.out, fill)
        if task.sidecar is not None:
            write_text(task.sidecar, to_json(_described(task, kind, why, outcome)))
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = 'the disk is full' if full else error.strerror or str(error)
        raise InputError(f'{task.out} cannot be written: {reason}.') from error
    for note in outcome.notes:
        LOGGER.warning('%s: %s', task.source.name, note)
    LOGGER.info('%s: %s, %s; written to %s', task.source.name, kind.name, why, task.out)


def _described(task: Task, kind: FileKind, why: str, outcome: Carried) -> dict[str, Any]:
    """Return what a sidecar says: what that of the source says, and how the file was carried."""
    own = read_json(sidecar(task.source)) if sidecar(task.source) != task.source else None
    route = task.route
    legs = route.images if kind.on_grid else route.points
    ways = f'from {route.origin} to {route.target}' if route.origin and route.target else 'through transforms'
    described = {
        **(own or {}),
        'Description': f'{task.source.name}, carried {ways}',
        'Sources': [_uri(path, task.dataset) for path in (task.source, *(leg.path for leg in legs))],
        'Kind': f'{kind.name}, {why}',
        'Transforms': [{'Path': leg.path.name, 'Inverted': leg.inverted} for leg in legs],
        **outcome.facts,
        'Notes': list(outcome.notes),
        'GeneratedBy': [{'Name': 'bidsreg-apply', 'Version': __version__}],
    }
    if kind.on_grid and task.reference is not None:
        described['SpatialReference'] = _uri(task.reference, task.dataset)
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
