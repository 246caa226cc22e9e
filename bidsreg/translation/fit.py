"""One training: check, read the scans, take the steps, and write what came of it."""

from __future__ import annotations

import contextlib
import json
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bidsreg import __version__
from bidsreg.bids.locks import PairLock
from bidsreg.bids.names import PRIVATE
from bidsreg.bids.sidecars import read_json, to_json
from bidsreg.errors import InputError
from bidsreg.execution.checks import check_writable
from bidsreg.execution.machine import allowed_threads
from bidsreg.registration.atomic import write_text
from bidsreg.registration.grid import Grid
from bidsreg.translation.model import MARKER, MODEL, TranslationModel, write_model
from bidsreg.translation.plots import draw_losses, draw_samples
from bidsreg.translation.settings import FitSettings
from bidsreg.translation.slices import SliceSampler
from bidsreg.translation.sources import TrainingScan, find_training_scans
from bidsreg.translation.tensorfiles import digest_of, read_tensors, write_tensors
from bidsreg.translation.training import Training
from bidsreg.translation.volumes import WorldBrain, read_scan, to_volume

LOGGER = logging.getLogger('bidsreg')

#: Files of a training.
CHECKPOINT, LOSSES = 'checkpoint.safetensors', 'losses.tsv'
#: Folders of a training: brains made ready, and pictures.
READY, SAMPLES = 'prepared', 'samples'
#: How the names of all files end that are written.
WRITTEN = ('.json', '.png', '.safetensors', '.tsv')
WHAT = 'a prepared scan'

Brains = Mapping[str, Mapping[str, Sequence[WorldBrain]]]
"""By contrast and by subject."""


def fit(settings: FitSettings, device: str) -> Path:
    """Train a translation, or go on with one that was interrupted.

    Parameters
    ----------
    settings : FitSettings
        What was asked for.
    device : str
        A torch device.

    Returns
    -------
    Path
        The model.

    Raises
    ------
    InputError
        If the input cannot be used, or the folder is of another training; nothing was trained then.
    DivergedError
        If the training came upon numbers that are not finite.
    """
    check_place(settings)
    scans = find_training_scans(settings)
    identity = {**settings.identity(), 'scans': [scan.fingerprint() for scan in scans]}
    folder = settings.output_dir
    if _is_done(folder, identity):
        LOGGER.info('%s is done already.', folder / MODEL)
        return folder / MODEL
    check_writable({'output': folder})
    torch.set_num_threads(allowed_threads(settings.threads))
    with _locked(folder):
        write_text(folder / MARKER, to_json({'identity': identity, 'done': False}))
        brains = _read_all(settings, scans)
        training = _begun(settings, brains, device, identity)
        _train(training, brains, identity)
    return folder / MODEL


def check_place(settings: FitSettings) -> None:
    """Refuse to write into the input, but for a folder of its derivatives.

    Raises
    ------
    InputError
        If the output lies in the dataset.
    """
    source, place = settings.input.resolve(), settings.output_dir.resolve()
    derivatives = source / 'derivatives'
    if settings.is_table or not place.is_relative_to(source):
        return
    if not place.is_relative_to(derivatives) or place == derivatives:
        raise InputError(f'The output folder {settings.output_dir} lies in the dataset {source}: give another.')


def _is_done(folder: Path, identity: Mapping[str, Any]) -> bool:
    """Tell whether a folder holds the finished training; refuse one that holds another, or something else."""
    if folder.is_file():
        raise InputError(f'{folder} is a file; give a folder for the model.')
    # what is hidden is our own, or no content
    if not folder.is_dir() or all(path.name.startswith('.') for path in folder.iterdir()):
        return False
    marker = read_json(folder / MARKER)
    if marker is None:
        raise InputError(f'{folder} is not empty, and no folder of a training: give another.')
    # as JSON has it
    before, now = marker.get('identity', {}), json.loads(json.dumps(identity))
    for name, value in now.items():
        if before.get(name) != value:
            what = 'its scans are others, or changed' if name == 'scans' else f'its {name} was {before.get(name)!r}'
            raise InputError(f'{folder} belongs to another training: {what}. Give another folder.')
    return bool(marker.get('done')) and (folder / MODEL).is_file()


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with PairLock() as lock:
        if not lock.take(folder / PRIVATE / 'locks' / 'fit.lock'):
            raise InputError(f'Another training is at work in {folder}; wait for it, or give another folder.')
        clear_half_written(folder)
        yield


def clear_half_written(folder: Path) -> None:
    """Remove the hidden files that a training left which was killed while it wrote; none may be at work there."""
    for path in folder.rglob('.*'):
        if path.suffix in WRITTEN and path.is_file():
            path.unlink()


# ---------------------------------------------------------------------------------------------------- the scans
def _read_all(settings: FitSettings, scans: Sequence[TrainingScan]) -> Brains:
    found: dict[str, dict[str, list[WorldBrain]]] = {
        settings.source: defaultdict(list),
        settings.target: defaultdict(list),
    }
    with _progress('reading scans', len(scans)) as tell:
        for number, scan in enumerate(scans):
            LOGGER.debug('reading %s', scan.image)
            found[scan.contrast][scan.subject].append(ready(settings, scan, number))
            tell(number + 1)
    return found


def ready(settings: FitSettings, scan: TrainingScan, number: int) -> WorldBrain:
    """Return the brain of a scan, masked, corrected, scaled and on its grid; what was made before is read again."""
    kept = settings.output_dir / READY / f'{number:04d}.safetensors'
    header = {
        'version': __version__,
        'scan': scan.fingerprint(),
        'spacing': settings.spacing,
        'bias_correction': settings.bias_correction,
    }
    with contextlib.suppress(InputError):  # it is not there, or was left by a disk that was full
        before, tensors = read_tensors(kept, WHAT)
        if before == header:
            arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
            return WorldBrain(arrays['values'], arrays['inside'], Grid(arrays['inside'].shape, arrays['affine']))
    image, inside = read_scan(
        scan.image,
        scan.mask,
        contrast=scan.contrast,
        bias_correction='none' if scan.corrected else settings.bias_correction,
        threads=allowed_threads(settings.threads),
    )
    brain = to_volume(image, inside, settings.spacing, str(scan.image))
    arrays = {'values': brain.values, 'inside': brain.inside, 'affine': brain.grid.affine}
    write_tensors(kept, {name: torch.from_numpy(np.ascontiguousarray(data)) for name, data in arrays.items()}, header)
    return brain


# ---------------------------------------------------------------------------------------------------- the steps
def _begun(settings: FitSettings, brains: Brains, device: str, identity: Mapping[str, Any]) -> Training:
    """Return a training at its first step, or at that of its checkpoint."""
    domains = brains[settings.source], brains[settings.target]
    training = Training(settings, SliceSampler(*domains, size=settings.size, seed=settings.seed), device)
    checkpoint = settings.output_dir / CHECKPOINT
    if checkpoint.is_file():
        training.load(checkpoint, json.loads(json.dumps(identity)))
        LOGGER.info('Going on after step %d of %d.', training.done, settings.recipe.steps)
    else:
        training.translator.calibrate(*(intensities(domain) for domain in domains))
    return training


def intensities(domain: Mapping[str, Sequence[WorldBrain]]) -> np.ndarray:
    """Return the intensities inside all brains of a domain, shape (N,)."""
    return np.concatenate([brain.values[brain.inside] for heads in domain.values() for brain in heads])


def _train(training: Training, brains: Brains, identity: Mapping[str, Any]) -> None:
    """Take the steps, and leave checkpoints, tables and pictures on the way."""
    settings = training.settings
    folder, steps = settings.output_dir, settings.recipe.steps
    heads = {contrast: len(subjects) for contrast, subjects in brains.items()}

    def save() -> None:
        training.save(folder / CHECKPOINT, json.loads(json.dumps(identity)))
        _write_losses(training)
        _draw(training, brains)
        last = ', '.join(f'{n} {v:.4g}' for n, v in zip(training.translator.losses, training.history[-1], strict=True))
        LOGGER.info('step %d of %d: %s', training.done, steps, last)

    if training.done == steps:  # it ended between its last checkpoint and what follows that
        save()
    with _progress('training', steps, training.done) as tell:
        training.run(tell, save)
    write_model(folder / MODEL, training.translator.generator, settings, heads)
    facts = {
        'identity': identity,
        'done': True,
        'heads': heads,
        'seconds': round(training.seconds, 3),
        'cpu_seconds': round(training.cpu_seconds, 3),
        'device': training.device,
        'threads': torch.get_num_threads(),
        'model': f'sha256:{digest_of(folder / MODEL)}',
    }
    write_text(folder / MARKER, to_json(facts))
    (folder / CHECKPOINT).unlink(missing_ok=True)


def _write_losses(training: Training) -> None:
    rows = ('\t'.join([str(n), *(f'{x:.6g}' for x in row)]) for n, row in enumerate(training.history, start=1))
    text = '\n'.join(['\t'.join(['step', *training.translator.losses]), *rows]) + '\n'
    write_text(training.settings.output_dir / LOSSES, text)


def _draw(training: Training, brains: Brains) -> None:
    settings, folder = training.settings, training.settings.output_dir
    draw_losses(folder / LOSSES.replace('.tsv', '.png'), training.translator.losses, training.history)
    source, target = (next(iter(brains[name].items())) for name in (settings.source, settings.target))
    others = [heads for subject, heads in brains[settings.target].items() if subject != source[0]]
    shown = (others or [target[1]])[0][0]
    generator = training.translator.generator
    model = TranslationModel(
        settings.recipe, settings.source, settings.target, settings.spacing, settings.bias_correction, generator, {}, ''
    )
    draw_samples(folder / SAMPLES / f'step-{training.done:06d}.png', model, source[1][0], shown, training.device)


@contextlib.contextmanager
def _progress(title: str, steps: int, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Show on a terminal how far the work is, and when it will be done."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(title, total=steps, completed=done)
        yield lambda number: progress.update(task, completed=number)
