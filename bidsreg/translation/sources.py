"""Which scans a training reads: out of a BIDS dataset, raw or derivatives, or out of a table."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bidsreg.bids.headers import check_header
from bidsreg.bids.masks import find_mask
from bidsreg.bids.names import ENTITIES
from bidsreg.bids.scans import Scan, index, list_images, list_scans
from bidsreg.errors import InputError
from bidsreg.settings import Settings
from bidsreg.tables import read_listing
from bidsreg.translation.settings import FitSettings
from bidsreg.validation import suggestion

LOGGER = logging.getLogger('bidsreg')

#: Columns of a table of scans, and those that it may have.
REQUIRED = ('subject', 'contrast', 'image')
OPTIONAL = ('mask',)
#: Contrasts that are told in the names of a BIDS dataset.
OF_BIDS = ('T1w', 'T2w')
#: ``desc`` of the scans of derivatives that are without their bias field.
CORRECTED = 'preproc'


@dataclass(frozen=True, kw_only=True)
class TrainingScan:
    """One scan to train on.

    Attributes
    ----------
    subject, contrast : str
        Whose it is, and of which contrast.
    image : Path
        The file.
    mask : Path or None
        Brain mask on its grid.
    corrected : bool
        The bias field has been taken out of it.
    """

    subject: str
    contrast: str
    image: Path
    mask: Path | None = None
    corrected: bool = False

    def fingerprint(self) -> dict[str, Any]:
        """Say which state of the scan this is: how large and how old its files are, too."""
        files = [path for path in (self.image, self.mask) if path is not None]
        stats = [(str(path), path.stat()) for path in files]
        states = [f'{path} {stat.st_size} {stat.st_mtime_ns}' for path, stat in stats]
        return {'subject': self.subject, 'contrast': self.contrast, 'files': states, 'corrected': self.corrected}


def find_training_scans(settings: FitSettings) -> tuple[TrainingScan, ...]:
    """Find the scans of both contrasts, in a fixed order.

    Raises
    ------
    InputError
        If the input cannot be used, a file cannot be read, or there are not two people, one with a scan of each.
    """
    there = read_scan_table(settings.input) if settings.is_table else _of_bids(settings)
    scans = tuple(scan for scan in there if scan.contrast in (settings.source, settings.target))
    people = {
        contrast: sorted({scan.subject for scan in scans if scan.contrast == contrast})
        for contrast in (settings.source, settings.target)
    }
    for contrast, subjects in people.items():
        if not subjects:
            known = sorted({scan.contrast for scan in there})
            hint = suggestion(contrast, known) if known else ''
            raise InputError(f'{settings.input} holds no scan of the contrast {contrast}.{hint}')
    if len({subject for subjects in people.values() for subject in subjects}) < 2:
        raise InputError(
            f'{settings.input} holds scans of one person alone: what is trained on must be of at least two.'
        )
    for scan in scans:
        if errors := check_header(scan.image).errors:
            raise InputError(f'{scan.image}: {"; ".join(errors)}')
    LOGGER.info('%s', ', '.join(f'{name}: {len(subjects)} people' for name, subjects in people.items()))
    return scans


# ---------------------------------------------------------------------------------------------------- a table
def read_scan_table(path: Path) -> list[TrainingScan]:
    """Read a table of scans.

    Parameters
    ----------
    path : Path
        TSV with the columns ``subject``, ``contrast`` and ``image``, and any of :data:`OPTIONAL`; paths are relative
        to the table, and an empty cell or ``n/a`` is none.

    Raises
    ------
    InputError
        If the table cannot be read, has wrong columns, no row, a scan twice, or a file that is not there.
    """
    rows = _rows(path)
    scans: dict[Path, int] = {}
    found = []
    for line, row in enumerate(rows, start=2):
        for name in REQUIRED:
            if name not in row:
                raise InputError(f'{path}, line {line}: no {name} is given.')
        files = {name: path.parent / row[name] for name in ('image', 'mask') if name in row}
        for name, file in files.items():
            if not file.is_file():
                raise InputError(f'{path}, line {line}: {name} {file} is not there.')
        image = files['image'].resolve()
        if image in scans:
            raise InputError(f'{path}, line {line}: this scan is listed already in line {scans[image]}.')
        scans[image] = line
        person = row['subject'].strip().removeprefix('sub-')  # one by two spellings would be two people
        found.append(
            TrainingScan(subject=person, contrast=row['contrast'], image=files['image'], mask=files.get('mask'))
        )
    return found


def _rows(path: Path) -> list[dict[str, str]]:
    """Return the cells of each row that are not empty, by their columns."""
    table = read_listing(path, 'scans')
    known = (*REQUIRED, *OPTIONAL)
    hint = f'The columns are {", ".join(REQUIRED)}, and {", ".join(OPTIONAL)} if there are any, separated by tabs.'
    for name in REQUIRED:
        if name not in table:
            raise InputError(f'{path}: there is no column {name!r} (it has {", ".join(map(repr, table))}). {hint}')
    for name in table:
        if name not in known:
            raise InputError(f'{path}: the column {name!r} is not known.{suggestion(name, known)} {hint}')
    if not len(table):
        raise InputError(f'{path} lists no scan.')
    return [{key: value for key, value in row.items() if isinstance(value, str)} for row in table.to_dict('records')]


# ---------------------------------------------------------------------------------------------------- a dataset
def _of_bids(settings: FitSettings) -> list[TrainingScan]:
    """Find the scans of a dataset, with the brain masks that its derivatives, or it, have of them."""
    for contrast in (settings.source, settings.target):
        if contrast not in OF_BIDS:
            raise InputError(f'Of a BIDS dataset {" and ".join(OF_BIDS)} are known, not {contrast}; give a table.')
    root = settings.input
    description = root / 'dataset_description.json'
    try:
        says = json.loads(description.read_text(encoding='utf-8-sig'))
    except FileNotFoundError as error:
        raise InputError(f'{root} is no BIDS dataset: it has no dataset_description.json.') from error
    except (OSError, ValueError) as error:
        raise InputError(f'{description} cannot be read: {error}') from error
    derived = isinstance(says, dict) and says.get('DatasetType') == 'derivative'
    layout = index(Settings(bids_dir=root, output_dir=settings.output_dir))
    scans = _corrected_scans(layout) if derived else _raw_scans(layout, root)
    folders = _mask_folders(settings)
    return [_with_mask(scan, scans, folders, root, derived) for scan in scans]


def _raw_scans(layout: Any, root: Path) -> list[Scan]:
    subjects = sorted(path.name.removeprefix('sub-') for path in root.glob('sub-*') if path.is_dir())
    return [scan for scan in list_scans(layout, subjects).scans if scan.suffix in OF_BIDS]


def _corrected_scans(layout: Any) -> list[Scan]:
    """Return the scans of derivatives that are without their bias field, on their own grids."""
    return [
        Scan(path, entities['suffix'], {key: entities[key] for key in ENTITIES if key in entities})
        for path, entities in list_images(layout, OF_BIDS)
        if entities.get('desc') == CORRECTED and 'space' not in entities and 'subject' in entities
    ]


def _mask_folders(settings: FitSettings) -> tuple[Path, ...]:
    for folder in settings.derivatives:
        if not folder.is_dir():
            raise InputError(f'--derivatives {folder} is not a folder.')
    found = sorted(path for path in (settings.input / 'derivatives').glob('*') if path.is_dir())
    return settings.derivatives or tuple(found)


def _with_mask(scan: Scan, scans: Sequence[Scan], folders: Iterable[Path], root: Path, corrected: bool) -> TrainingScan:
    others = [other for other in scans if other.subject == scan.subject]
    mask = find_mask(scan, others, tuple(folders), root).path
    known: Mapping[str, Any] = {'subject': scan.subject, 'contrast': scan.suffix, 'corrected': corrected}
    return TrainingScan(image=scan.path, mask=mask, **known)
