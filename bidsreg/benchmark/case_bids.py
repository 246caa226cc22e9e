"""Pairs of a benchmark out of a BIDS dataset: those whose answer its derivatives know."""

from __future__ import annotations

import dataclasses
import itertools
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bidsreg.benchmark.case import SUBJECTS, Case, RescanCase
from bidsreg.benchmark.labelling import LABELLERS, LabelTask, label_files, make_labels
from bidsreg.benchmark.settings import BenchmarkSettings
from bidsreg.benchmark.tasks import TASKS
from bidsreg.bids.names import Contrasts, pair_name
from bidsreg.bids.normalisations import find_references
from bidsreg.bids.pairs import Pair, find_pairs
from bidsreg.bids.scans import has_modality, index, list_images
from bidsreg.errors import InputError
from bidsreg.settings import MODALITIES, Settings

LOGGER = logging.getLogger('bidsreg')

#: Entities in which labels must not contradict their scan.
AGREE = ('acquisition', 'reconstruction', 'run', 'sample', 'session')


@dataclass(frozen=True)
class _KnownPair:
    """The two scans of one subject and session, and the files that tell how they belong together, by role."""

    pair: Pair
    files: Mapping[str, Path]


def find_in_bids(settings: BenchmarkSettings) -> list[Case]:
    """Find the pairs of a BIDS dataset whose answer is known.

    Within a head that takes labels of both scans, or points; between two people, labels of the one's fixed scan and of
    the other's moving one (of each the first session that has both scans; where both are of one contrast, the scan by
    which the app would normalise the person). Between two sessions of a person nothing but the scans.

    Raises
    ------
    InputError
        If it is no dataset, nobody's answer is known, or what is to label them is not there.
    """
    folders, contrasts = label_folders(settings), settings.pair_contrasts
    app = _app(settings, folders)
    if not (settings.input / 'dataset_description.json').is_file():
        raise InputError(f'{settings.input} is no BIDS dataset: it has no dataset_description.json.')
    if contrasts.moving not in MODALITIES and not has_modality(settings.input, contrasts.moving):
        raise InputError(
            f'--contrasts {" ".join(settings.contrasts)}: nobody in {settings.input} has a {contrasts.moving}.'
        )
    pairs = _same_contrast(app) if contrasts.fixed == contrasts.moving else find_pairs(app).pairs
    if not pairs:
        wanted = ' and '.join(f'a {name}' for name in dict.fromkeys(settings.contrasts))
        raise InputError(f'{settings.input} holds no subject with {wanted}.')
    task = TASKS[settings.task]
    if task.is_rescan:
        return _rescans(pairs, settings.input)
    if settings.makes_labels:
        if why := LABELLERS[settings.label_with].missing():
            raise InputError(f'--label-with {settings.label_with}: {why}')
        known = [_KnownPair(pair, _labelled_files(pair, settings)) for pair in pairs]
    else:
        there = _segmentations(app, folders, {pair.subject for pair in pairs})
        known = [_KnownPair(pair, _known_files(pair, folders, there, settings.label_desc)) for pair in pairs]
    cases = (_between if task.between_people else _within)(known)
    if not cases:
        why = _why_no_case(settings, known, folders)
        raise InputError(f'No pair for the task {settings.task!r} in {settings.input}: {why}')
    return cases


def _why_no_case(settings: BenchmarkSettings, known: Iterable[_KnownPair], folders: Sequence[Path]) -> str:
    """Say what the scans of a dataset lack of a pair whose answer is known."""
    labelled = {one.pair.subject for one in known if {'fixed_labels', 'moving_labels'} <= set(one.files)}
    if TASKS[settings.task].between_people and len(labelled) == 1:
        other = '' if settings.contrasts[0] == settings.contrasts[1] else '; --task intra compares the scans of one'
        return f'it is for two people, and only sub-{labelled.pop()} has labels of both scans{other}.'
    spaces = [f'of the {name} with space-{name}' for name in dict.fromkeys(settings.contrasts) if name != 'T1w']
    return (
        f'no labels ({", ".join(["*_dseg.nii.gz", *spaces])}) or points were found for both scans in '
        f'{", ".join(map(str, folders)) or "derivatives/"}.'
    )


def label_cases(
    settings: BenchmarkSettings, cases: Sequence[Case], notes: Sequence[str] = ()
) -> tuple[tuple[Case, ...], tuple[str, ...]]:
    """Label what has no labels yet.

    Returns
    -------
    cases, notes
        The pairs that have all their labels, and the notes with a line about each pair of scans that could not be
        labelled.

    Raises
    ------
    InputError
        If no pair is left.
    """
    failed = make_labels(settings.label_with, label_tasks(settings, cases))
    told = tuple(f'Left out, as it could not be labelled: {name}: {why}' for name, why in failed.items())
    done = tuple(case for case in cases if all(path.is_file() for path in case.files().values()))
    if not done:
        raise InputError('No pair could be labelled. ' + ' '.join(told))
    return done, (*notes, *told)


def label_tasks(settings: BenchmarkSettings, cases: Iterable[Case]) -> list[LabelTask]:
    """List what has to be labelled so that cases found by :func:`find_in_bids` have all their labels."""
    app = _app(settings, label_folders(settings))
    wanted = {path for case in cases for path in (case.fixed_labels, case.moving_labels)}
    files = {pair.name: (pair, _labelled_files(pair, settings)) for pair in find_pairs(app).pairs}
    return [
        LabelTask(
            name=name,
            fixed=str(pair.fixed.resolve()),
            moving=str(pair.moving.resolve()),
            fixed_labels=str(roles['fixed_labels'].resolve()),
            moving_labels=str(roles['moving_labels'].resolve()),
            fixed_contrast=pair.fixed_contrast,
            moving_contrast=pair.moving_contrast,
            mask=str(pair.fixed_mask.resolve()) if pair.fixed_mask else None,
            threads=settings.omp_nthreads,
            seed=settings.random_seed,
        )
        for name, (pair, roles) in files.items()
        if wanted & {roles['fixed_labels'], roles['moving_labels']}
    ]


def _labelled_files(pair: Pair, settings: BenchmarkSettings) -> dict[str, Path]:
    """Return the masks of a pair, and where its labels will be."""
    masks = {'fixed_mask': pair.fixed_mask, 'moving_mask': pair.moving_mask}
    known = {role: path for role, path in masks.items() if path is not None}
    return known | label_files(settings.output_dir, settings.label_with, pair.name, pair.moving_contrast)


def _app(settings: BenchmarkSettings, folders: tuple[Path, ...]) -> Settings:
    """Return the settings by which the app finds the pairs of the dataset."""
    fixed, moving = settings.contrasts
    where: dict[str, Any] = {'bids_dir': settings.input, 'output_dir': settings.output_dir, 'derivatives': folders}
    return Settings(**where, reference=fixed, modalities=() if moving == fixed else (moving,))


def _same_contrast(app: Settings) -> tuple[Pair, ...]:
    """Pair every scan of the reference by which people are normalised with itself, so that both its ends are known."""
    return tuple(
        Pair(
            fixed=one.scan.path,
            moving=one.scan.path,
            subject=one.scan.subject,
            session=one.scan.session,
            reason=one.reason,
            entities=one.scan.entities,
            fixed_entities=one.scan.entities,
            contrasts=Contrasts(app.reference, app.reference),
            fixed_mask=one.mask,
            moving_mask=one.mask,
        )
        for one in find_references(find_pairs(app), app)
        if one.scan.contrast == app.reference
    )


def label_folders(settings: BenchmarkSettings) -> tuple[Path, ...]:
    """List the folders in which labels, masks and points are looked for."""
    for folder in settings.derivatives:
        if not folder.is_dir():
            raise InputError(f'--derivatives {folder} is not a folder.')
    found = sorted(path for path in (settings.input / 'derivatives').glob('*') if path.is_dir())
    return settings.derivatives or tuple(found)


def _segmentations(app: Settings, folders: Iterable[Path], subjects: set[str]) -> list[tuple[Path, dict[str, str]]]:
    """List every label image of the subjects with its entities, in the dataset and in its derivatives."""
    found: list[tuple[Path, dict[str, str]]] = []
    for folder in (app.bids_dir, *folders):
        there = {path.name.removeprefix('sub-') for path in folder.glob('sub-*')}
        if not subjects & there:
            continue
        layout = index(dataclasses.replace(app, bids_dir=folder, participant_label=tuple(sorted(subjects & there))))
        found += list_images(layout, ('dseg',))
    return sorted(found, key=lambda item: str(item[0]))


def _known_files(
    pair: Pair,
    folders: Iterable[Path],
    segmentations: Iterable[tuple[Path, dict[str, str]]],
    desc: str | None,
) -> dict[str, Path]:
    """Find labels, masks and points of a pair, as far as there are any."""
    segmentations = list(segmentations)
    files: dict[str, Path | None] = {
        'fixed_labels': choose_labels(pair.fixed_entities, _label_spaces(pair.fixed_contrast), segmentations, desc),
        'moving_labels': choose_labels(pair.entities, _label_spaces(pair.moving_contrast), segmentations, desc),
        'fixed_mask': pair.fixed_mask,
        'moving_mask': pair.moving_mask,
        'points': _first_there(folders, Path(_anat(pair)) / _points_name(pair)),
    }
    return {role: path for role, path in files.items() if path is not None}


def _label_spaces(contrast: str) -> tuple[str, ...]:
    """Return the values of ``space`` that mean the own grid of a scan of this contrast; empty: no such entity."""
    return ('', 'T1w', 'orig') if contrast == 'T1w' else (contrast,)


def _points_name(pair: Pair) -> str:
    return f'{pair_name(pair.entities)}_from-{pair.fixed_contrast}_to-{pair.moving_contrast}_points.tsv'


def _anat(pair: Pair) -> str:
    return f'sub-{pair.subject}/' + (f'ses-{pair.session}/' if pair.session else '') + 'anat'


def _first_there(folders: Iterable[Path], name: Path) -> Path | None:
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def choose_labels(
    scan: Mapping[str, str],
    spaces: Sequence[str],
    segmentations: Iterable[tuple[Path, Mapping[str, str]]],
    desc: str | None,
) -> Path | None:
    """Choose the label image of a scan; ``None`` when there is none.

    Parameters
    ----------
    scan
        The entities of the scan.
    spaces
        Values of ``space`` that mean the scan's own grid; empty: no such entity.
    segmentations
        Label images with their entities.
    desc
        The one to take where there are several, by its ``desc``.

    Raises
    ------
    InputError
        If several fit equally well.
    """
    fits = [
        (path, entities)
        for path, entities in segmentations
        if entities['subject'] == scan['subject']
        and entities.get('space', '') in spaces
        and (desc is None or entities.get('desc', '') == desc)
        and all(entities.get(key, scan.get(key)) == scan.get(key) for key in AGREE)
    ]
    shared = [sum(key in entities for key in AGREE) for _, entities in fits]
    best = [path for (path, _), count in zip(fits, shared, strict=True) if count == max(shared)]
    if len(best) > 1:
        raise InputError(
            f'sub-{scan["subject"]} has several label images that fit: {", ".join(map(str, best))}. '
            'Choose one with --label-desc or --derivatives.'
        )
    return best[0] if best else None


def _within(known: Iterable[_KnownPair]) -> list[Case]:
    """Pair the two scans of each head whose answer is known."""
    cases = []
    for one in known:
        known_of: dict[str, Any] = {**one.files, **dict.fromkeys(SUBJECTS, one.pair.subject)}
        case = Case(name=one.pair.name, fixed=one.pair.fixed, moving=one.pair.moving, **known_of)
        if case.has_answer:
            cases.append(case)
        else:
            LOGGER.warning('%s is left out: neither labels of both scans nor points', one.pair.name)
    return cases


def _between(known: Iterable[_KnownPair]) -> list[Case]:
    """Pair the fixed scan of each subject with the moving one of every other one, in both directions."""
    first: dict[str, _KnownPair] = {}
    for one in known:
        first.setdefault(one.pair.subject, one)
    return [
        Case(
            name=_name_between(fixed.pair, moving.pair),
            fixed=fixed.pair.fixed,
            moving=moving.pair.moving,
            fixed_subject=fixed.pair.subject,
            moving_subject=moving.pair.subject,
            **{role: path for role, path in fixed.files.items() if role.startswith('fixed')},
            **{role: path for role, path in moving.files.items() if role.startswith('moving')},
        )
        for fixed, moving in itertools.permutations(first.values(), 2)
        if 'fixed_labels' in fixed.files and 'moving_labels' in moving.files
    ]


def _name_between(fixed: Pair, moving: Pair) -> str:
    return f'sub-{fixed.subject}-{fixed.fixed_contrast}_sub-{moving.subject}-{moving.moving_contrast}'


def _rescans(pairs: Iterable[Pair], source: Path) -> list[Case]:
    """Pair the first two sessions that have a T1w and a T2w of everybody who has two."""
    sessions: dict[str, dict[str, Pair]] = {}
    for pair in pairs:
        if pair.session is not None:
            sessions.setdefault(pair.subject, {}).setdefault(pair.session, pair)
    several = {subject: list(theirs.values())[:2] for subject, theirs in sessions.items() if len(theirs) > 1}
    if not several:
        raise InputError(f'No pair for the task rescan in {source}: nobody has two sessions with a T1w and a T2w each.')
    return [_rescan(subject, *both) for subject, both in several.items()]


def _rescan(subject: str, first: Pair, second: Pair) -> Case:
    """Make the case of two sessions."""
    return RescanCase(
        name=f'sub-{subject}_ses-{first.session}_ses-{second.session}',
        fixed=first.fixed,
        moving=second.fixed,
        fixed_t2w=first.moving,
        moving_t2w=second.moving,
        fixed_mask=first.fixed_mask,
        moving_mask=second.fixed_mask,
        fixed_t2w_mask=first.moving_mask,
        moving_t2w_mask=second.moving_mask,
        fixed_subject=subject,
        moving_subject=subject,
    )
