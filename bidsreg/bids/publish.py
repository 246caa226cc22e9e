"""The safe writing of what a pair leaves behind, and whether that is complete.

Each file is written under a hidden name in a private folder of the output folder's file system, brought to disk, and
renamed into its place. The QC file is the last: where it is, the pair is complete.
"""

from __future__ import annotations

import gzip
import shutil
import typing
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from bidsreg.bids.earlier import remove_earlier
from bidsreg.bids.names import (
    AFFINE_FORMATS,
    PRIVATE,
    RATIO_KINDS,
    Contrasts,
    affine_path,
    lesion_path,
    output_name,
    pair_outputs,
    partial_path,
    ratio_path,
    sidecar,
)
from bidsreg.bids.sidecars import lesion_sidecar, read_json, sidecars, source_stamps, to_json
from bidsreg.registration.atomic import hidden_folder, sweep, write_atomic, write_text

if typing.TYPE_CHECKING:
    from bidsreg.bids.pairs import Pair
    from bidsreg.settings import Settings

#: As nibabel packs images: half the time of higher levels, and a few % larger.
GZIP_LEVEL = 1


def publish(
    files: Mapping[str, Path],
    pair: Pair,
    settings: Settings,
    facts: Mapping[str, Any],
    others: Mapping[Path, Path] | None = None,
    lesions: Mapping[str, Path] | None = None,
) -> None:
    """Put the finished files of a pair in their places, each by an atomic write, the QC file last.

    Parameters
    ----------
    files
        A file for each key of :data:`~bidsreg.bids.names.PRODUCTS`, except ``qc``.
    pair, settings
        The pair, and the settings it was made with.
    facts
        Goes into the QC file as it is. The sidecars take from it, where there: ``mask_method`` (of the fixed scan),
        ``t1w_skull_stripped``, ``t2w_skull_stripped`` (or as the contrasts are called), and ``result`` (what
        ``bidsreg-pair`` says of itself).
    others
        ``{where it is to be: where it is now}``: figures and affines of other formats, see
        :func:`bidsreg.bids.names.figure_path` and :func:`bidsreg.bids.names.affine_path`.
    lesions
        The lesions that were left out, for ``fixed`` and ``moving``, where there are any.

    Raises
    ------
    ValueError
        When a product is missing.
    OSError
        When the disk is full or the folder cannot be written. What was complete before is then not complete any more.

    """
    goals = pair_outputs(pair, settings.output_dir)
    check_given(pair.name, goals, files)
    copies = {goals[key]: path for key, path in files.items() if key != 'qc'} | dict(others or {})
    ill = {lesion_path(pair.entities, settings.output_dir, end, pair.contrasts): end for end in lesions or {}}
    copies |= {goal: (lesions or {})[end] for goal, end in ill.items()}
    _remove_stale(pair, settings, copies)
    goals['qc'].unlink(missing_ok=True)  # until the new one is there, the pair is not complete
    _forget_turned(pair, settings)
    texts = {sidecar(goals[key]): text for key, text in sidecars(pair, settings, facts).items()}
    texts |= {sidecar(goal): lesion_sidecar(pair, settings, facts, end) for goal, end in ill.items()}
    marker = {
        'pair': pair.name,
        'fingerprint': settings.fingerprint(),
        'sources': source_stamps(pair, settings),
        **({'sloppy': True} if settings.sloppy else {}),
        **facts,
    }
    put_in_place(pair.name, settings.output_dir, {**texts, **copies, goals['qc']: marker})
    partial_path(pair.name, settings.output_dir).unlink(missing_ok=True)
    remove_earlier(pair.name, settings.output_dir)


def _forget_turned(pair: Pair, settings: Settings) -> None:
    """Remove the QC file of these scans registered the other way about, where its transforms have the names of ours.

    Another reference's verdict would else stand for files that this pair writes anew.
    """
    if dict(pair.entities) == dict(pair.fixed_entities):
        turned = Contrasts(pair.moving_contrast, pair.fixed_contrast)
        (settings.output_dir / output_name('qc', pair.fixed_entities, turned)).unlink(missing_ok=True)


def _remove_stale(pair: Pair, settings: Settings, kept: Container[Path]) -> None:
    """Remove what an earlier run made of a pair with other settings, or of other sources, and this one does not make.

    These are ratios, lesions that are not given any more, and affines in the formats of other programs: each would lie
    beside a transform that it does not belong to.
    """
    before = read_qc(pair, settings) or {}
    stamps = {'fingerprint': settings.fingerprint(), 'sources': source_stamps(pair, settings)}
    if all(before.get(key) == value for key, value in stamps.items()):
        return
    names = pair.entities, settings.output_dir
    stale = [affine_path(*names, name, pair.contrasts) for name in AFFINE_FORMATS]
    if isinstance(ill := before.get('lesions'), dict):
        stale += [lesion_path(*names, end, pair.contrasts) for end in ('fixed', 'moving') if end in ill]
    if {pair.fixed_contrast, pair.moving_contrast} == {'T1w', 'T2w'}:  # the file has no contrast in its name
        stale += [ratio_path(*names, kind, pair.contrasts) for kind in RATIO_KINDS]
    for path in stale:
        if path not in kept:
            path.unlink(missing_ok=True)
            if path.suffix == '.gz':  # the sidecar beside an affine is that of the affine in our format
                sidecar(path).unlink(missing_ok=True)


def check_given(name: str, wanted: Iterable[str], files: Container[str]) -> None:
    """Refuse to publish less than a whole: a file for each key but ``qc``, which is made here.

    Raises
    ------
    ValueError
        When one is missing; `name` says of what.
    """
    if missing := sorted(key for key in wanted if key != 'qc' and key not in files):
        raise ValueError(f'{name}: nothing to publish as {", ".join(missing)}')


def put_in_place(name: str, output_dir: Path, contents: Mapping[Path, Path | Mapping[str, Any]]) -> None:
    """Write files in this order, each by an atomic write that is on the disk before the next.

    Parameters
    ----------
    name
        As :func:`scratch_folder` takes it.
    output_dir
        The output folder.
    contents
        What each file is to be: the file that it is a copy of (see :func:`copy_packed`), or what stands in it as JSON.

    Raises
    ------
    OSError
        When the disk is full or the folder cannot be written.
    """
    with scratch_folder(output_dir, name) as scratch:
        for goal, content in contents.items():
            if isinstance(content, Mapping):
                write_text(goal, to_json(content), scratch=scratch, durable=True)
            else:
                write_atomic(goal, partial(copy_packed, content), scratch=scratch, durable=True)


def copy_packed(path: Path, goal: Path) -> None:
    """Copy a file; one that is to be packed and is not yet, as images between two steps, is packed."""
    if (path.suffix, goal.suffix) != ('.nii', '.gz'):
        shutil.copyfile(path, goal)
        return
    # neither time nor name inside: the same image is the same file
    with open(path, 'rb') as source, open(goal, 'wb') as file, gzip.GzipFile('', 'wb', GZIP_LEVEL, file, 0) as packed:
        shutil.copyfileobj(source, packed, 2**20)


@contextmanager
def scratch_folder(output_dir: Path, name: str) -> Iterator[Path]:
    """Give a private folder of the output folder's file system for files that are being written.

    Parameters
    ----------
    output_dir
        The output folder.
    name
        The name of the pair that is written, by which :func:`clear_unfinished` finds what a killed run left, or of a
        file.

    Yields
    ------
    Path
        The folder, which is removed in the end.

    """
    with hidden_folder(output_dir / PRIVATE / 'tmp', name) as folder:
        yield folder


def clear_unfinished(output_dir: Path, name: str) -> None:
    """Remove the unfinished files that a killed run left of a pair; the caller holds the pair's lock."""
    sweep(output_dir / PRIVATE / 'tmp', name)


def clear_left_behind(output_dir: Path) -> None:
    """Remove the unfinished files that killed runs left anywhere in an output folder."""
    for folder in (output_dir / PRIVATE / 'tmp', output_dir, output_dir / 'logs', *output_dir.glob('sub-*/figures')):
        sweep(folder)


def is_complete(pair: Pair, settings: Settings) -> bool:
    """Tell whether a pair was finished with these settings, from these very files."""
    return why_incomplete(pair, settings) is None


def why_incomplete(pair: Pair, settings: Settings) -> str | None:
    """Say why a pair is to be done again, for a person to read; ``None`` when it is complete."""
    paths = pair_outputs(pair, settings.output_dir)
    marker = read_json(paths['qc'])
    if marker is None:
        return 'not done yet'
    if marker.get('fingerprint') != settings.fingerprint():
        return 'it was made with other settings or another version'
    if marker.get('sources') != source_stamps(pair, settings):
        return 'its source files have changed'
    for key, path in paths.items():
        if not path.is_file() or path.stat().st_size == 0:
            return f'{path.name} is missing'
        if key != 'qc' and not sidecar(path).is_file():
            return f'{sidecar(path).name} is missing'
    for end in marker.get('lesions', ()):
        if not (path := lesion_path(pair.entities, settings.output_dir, end, pair.contrasts)).is_file():
            return f'{path.name} is missing'
    for name in settings.affine_formats:
        if not (path := affine_path(pair.entities, settings.output_dir, name, pair.contrasts)).is_file():
            return f'{path.name} is missing'
    for key in sorted(set(paths) - {'qc'}):  # another pair with this T1w, or reference, may have rewritten them since
        if (read_json(sidecar(paths[key])) or {}).get('Fingerprint') != settings.fingerprint():
            return f'{paths[key].name} was rewritten with other settings'
    return None


def read_qc(pair: Pair, settings: Settings) -> dict[str, Any] | None:
    """Read the QC file of a pair; ``None`` when there is none."""
    return read_json(pair_outputs(pair, settings.output_dir)['qc'])
