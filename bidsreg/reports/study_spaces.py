"""A study in the spaces of templates: a table of the normalisations, and mean and spread of the people, at a glance."""

from __future__ import annotations

import base64
import json
import logging
import math
import tempfile
import typing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from bidsreg.bids.images import load_image
from bidsreg.bids.names import build_name
from bidsreg.qc.normalisation import NORMALISATION_CHECKS
from bidsreg.qc.verdict import read_thresholds
from bidsreg.registration.atomic import write_text
from bidsreg.reports import canvas, slicing
from bidsreg.reports.canvas import FOOT, ORANGE, Layout
from bidsreg.reports.space_record import SpaceRecord, collect_spaces
from bidsreg.tables import to_tsv

if typing.TYPE_CHECKING:
    from bidsreg.settings import Settings

LOGGER = logging.getLogger('bidsreg')

#: The name of the table, without its extensions.
STEM = 'group_normalisation'
#: Contrasts whose mean is drawn.
CONTRASTS = ('T1w', 'T2w')
#: A mean of fewer people says nothing of how they lie on each other.
LEAST = 2
#: Spread, in units of a person's median in the brain, that is shown as white.
WIDEST = 0.5


@dataclass(frozen=True)
class MeanPicture:
    """One picture of the people of a study in a space.

    Attributes
    ----------
    title
        What it shows.
    address
        The picture itself, as an address that begins with ``data:``.
    """

    title: str
    address: str


@dataclass(frozen=True)
class StudySpaces:
    """The normalisations of a study.

    Attributes
    ----------
    records
        One for each.
    pictures
        Mean and spread of the people, for each space and contrast.
    """

    records: Sequence[SpaceRecord]
    pictures: Sequence[MeanPicture]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of the table in the page."""
        return [
            {
                'name': record.name,
                'link': f'sub-{record.entities["subject"]}.html#{record.anchor}',
                'space': record.space,
                'judgement': record.judgement,
                'reason': record.reason,
            }
            for record in self.records
        ]


def read_study_spaces(settings: Settings) -> StudySpaces:
    """Read the normalisations that an output folder holds, and draw the mean of the people in each space."""
    records = collect_spaces(settings)
    pictures: list[MeanPicture] = []
    for space in dict.fromkeys(record.space for record in records):
        mine = [record for record in records if record.space == space and not record.failed]
        for contrast in CONTRASTS:
            pictures += _pictures(space, contrast, mine, settings.output_dir)
    return StudySpaces(records, pictures)


def write_study_spaces(study: StudySpaces, settings: Settings) -> None:
    """Write ``group_normalisation.tsv`` and its data dictionary; nothing where nobody was normalised."""
    if not study.records:
        return
    out = settings.output_dir
    write_text(out / f'{STEM}.tsv', _table(study.records))
    write_text(out / f'{STEM}.json', json.dumps(_dictionary(settings), indent=2) + '\n')


def _table(records: Iterable[SpaceRecord]) -> str:
    header = ['normalisation', 'participant_id', 'session_id', 'space', 'reference', 'verdict', 'reason']
    lines: list[list[Any]] = [[*header, *NORMALISATION_CHECKS]]
    for record in records:
        session = record.entities.get('session')
        values = record.verdict.checks if record.verdict else {}
        lines.append([
            record.name,
            f'sub-{record.entities["subject"]}',
            f'ses-{session}' if session else None,
            record.space,
            record.contrast,
            record.judgement,
            record.reason or None,
            *(_value(values[name].value) if name in values else None for name in NORMALISATION_CHECKS),
        ])  # fmt:skip
    return to_tsv(lines)


def _value(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _dictionary(settings: Settings) -> dict[str, dict[str, Any]]:
    limits = read_thresholds(settings.qc_thresholds, family='normalisation')
    words: dict[str, dict[str, Any]] = {
        'normalisation': {'Description': 'Its name: the reference scan and the space'},
        'participant_id': {'Description': 'Subject'},
        'session_id': {'Description': 'Session of the reference scan'},
        'space': {'Description': 'The space, as it stands behind to- in the names of transforms'},
        'reference': {'Description': 'Contrast of the scan by which the person was normalised'},
        'verdict': {'Description': 'Whether to use it, by the thresholds in force when this table was made'},
        'reason': {'Description': 'Why it failed, or a sentence for each number beyond its threshold'},
    }
    for name, check in NORMALISATION_CHECKS.items():
        words[name] = {'Description': check.title, 'Thresholds': str(limits[name])}
        if unit := check.unit.strip():
            words[name]['Units'] = unit
    return words


# ------------------------------------------------------------------------------------------------------------ pictures
def _pictures(space: str, contrast: str, records: Sequence[SpaceRecord], out: Path) -> list[MeanPicture]:
    """Draw mean and spread of the people who have a contrast in a space; nothing of fewer than :data:`LEAST`."""
    found = [files for record in records if (files := _files(record, contrast, out)) is not None]
    if len(found) < LEAST:
        return []
    try:
        mean, spread = mean_and_spread(found)
    except (OSError, ValueError, EOFError) as error:  # a damaged image costs the pictures, not the page
        LOGGER.warning('The mean %s in %s could not be drawn: %s', contrast, space, error)
        return []
    mask = found[0][1]
    people = f'{len(found)} scans'
    return [
        MeanPicture(title, _draw(image, mask, title, window))
        for title, image, window in (
            (f'Mean {contrast} of {people} in {space}', mean, None),
            (f'Standard deviation of the {contrast} of {people} in {space}', spread, (0.0, WIDEST)),
        )
    ]


def _files(record: SpaceRecord, contrast: str, out: Path) -> tuple[Path, Path] | None:
    """Return image and mask of a person on the coarsest grid there is of the space; None without them."""
    entities = record.figure_entities
    pattern = {'suffix': contrast, 'extension': '.nii.gz', 'desc': 'preproc'}
    if contrast == record.contrast:
        images = _on_grids(out / build_name({**entities, **pattern}))
    else:  # of the scan of a pair, whose other entities are its own
        folder = (out / build_name({**entities, **pattern})).parent
        start = f'_space-{entities["space"]}_' + (f'cohort-{entities["cohort"]}_' if 'cohort' in entities else '')
        images = sorted(folder.glob(f'sub-*{start}*desc-preproc_{contrast}.nii.gz'))
    masks = _on_grids(out / build_name({**entities, 'suffix': 'mask', 'extension': '.nii.gz', 'desc': 'brain'}))
    for mask in sorted(masks, key=_resolution, reverse=True):
        for image in images:
            if _resolution(image) == _resolution(mask):
                return image, mask
    return None


def _on_grids(path: Path) -> list[Path]:
    """Return the files of a name on all grids of its space."""
    numbered = path.name.replace('_desc-', '_res-*_desc-', 1)
    return [*path.parent.glob(numbered), *([path] if path.is_file() else [])]


def _resolution(path: Path) -> int:
    numbers = [part[4:] for part in path.name.split('_') if part.startswith('res-') and part[4:].isdigit()]
    return int(numbers[0]) if numbers else 0


def mean_and_spread(files: Iterable[tuple[Path, Path]]) -> tuple[nib.Nifti1Image, nib.Nifti1Image]:
    """Return mean and standard deviation of images on one grid, each divided by its median in its brain mask.

    Parameters
    ----------
    files
        Images and their masks.

    Raises
    ------
    ValueError
        If an image is on another grid than the first, or has an empty mask.
    """
    count, mean, squares, affine = 0, np.zeros(()), np.zeros(()), np.eye(4)
    for path, mask_path in files:
        image = load_image(path)
        inside = np.asanyarray(load_image(mask_path).dataobj) > 0
        values = np.asarray(image.dataobj, np.float32)
        if inside.shape != values.shape or (count and values.shape != mean.shape):
            raise ValueError(f'{path} is on another grid')
        middle = float(np.median(values[inside])) if inside.any() else 0.0
        if not middle > 0:
            raise ValueError(f'{path} is dark in its brain mask')
        values = values / middle
        if not count:
            mean, squares, affine = np.zeros_like(values), np.zeros_like(values), image.affine
        count += 1
        off = values - mean  # Welford's update
        mean += off / count
        squares += off * (values - mean)
    return nib.Nifti1Image(mean, affine), nib.Nifti1Image(np.sqrt(squares / max(count - 1, 1)), affine)


def _draw(image: nib.Nifti1Image, mask_path: Path, title: str, window: tuple[float, float] | None) -> str:
    """Draw slices with the outline of a mask; return the picture as an address."""
    mask = slicing.load(mask_path)
    planes = slicing.choose_planes(mask)
    layout, inside = Layout.of(planes), slicing.slices(mask, planes)
    body = [
        canvas.raster(slicing.greys(slicing.slices(image, planes), inside, window), layout),
        canvas.labels(planes, layout),
        canvas.heading(title),
        *(
            []
            if window is None
            else [canvas.heading(f'black 0, white {window[1]:g} of the median', ORANGE, 1390, 'end')]
        ),
    ]
    with tempfile.TemporaryDirectory(prefix='bidsreg-mean-') as folder:
        path = canvas.write_svg(Path(folder, 'mean.svg'), layout.bottom + FOOT, body, title)
        return 'data:image/svg+xml;base64,' + base64.b64encode(path.read_bytes()).decode()
