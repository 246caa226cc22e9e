"""The anatomical files of a dataset: which are scans of their own, and why each other one is none.

Entities are read from names relative to the dataset, so that folders above it say nothing about its files.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath

from bidsreg.bids.names import ENTITIES
from bidsreg.errors import InputError
from bidsreg.settings import Settings

if typing.TYPE_CHECKING:
    from bids.layout import BIDSLayout
    from pathspec import GitIgnoreSpec

EXTENSIONS = ('.nii.gz', '.nii')
#: Suffixes of files that a plan speaks of as of another contrast: scans, and what looks like one.
CONTRAST_OF = {'UNIT1': 'T1w', 'MP2RAGE': 'T1w', 'PDT2': 'T2w'}
#: Weighted images of the head; those that nobody asked for are named where a contrast is missing.
WEIGHTED = (
    'T1w',
    'T2w',
    'FLAIR',
    'PDw',
    'PD',
    'T2starw',
    'T2star',
    'inplaneT1',
    'inplaneT2',
    'MEGRE',
    'MESE',
    'FLASH',
)
#: Entities that only derived files have, and how they are written.
_DERIVED = {'desc': 'desc-', 'space': 'space-', 'label': 'label-', 'segmentation': 'seg-', 'res': 'res-'}


@dataclass(frozen=True)
class Left:
    """A file that is not used, with the labels of its subject and session, and the reason.

    `filtered` tells that a filter of the user is the reason.
    """

    path: Path
    subject: str
    session: str | None
    reason: str
    filtered: bool = False


@dataclass(frozen=True)
class Scan:
    """A weighted image of one head.

    Attributes
    ----------
    path
        The file.
    suffix
        What the file is called: ``T1w``, ``UNIT1``, ``T2w``, ``FLAIR`` and so on.
    entities
        The file's entities: pybids' names, values as they are written.
    inversions
        Of a ``UNIT1``: the magnitude images of its two inversions, where both are there.
    """

    path: Path
    suffix: str
    entities: Mapping[str, str]
    inversions: tuple[Path, ...] = ()

    @property
    def subject(self) -> str:
        """The label of the subject."""
        return self.entities['subject']

    @property
    def session(self) -> str | None:
        """The label of the session, if there are any."""
        return self.entities.get('session')

    @property
    def contrast(self) -> str:
        """The suffix; a ``UNIT1`` is a T1w image."""
        return CONTRAST_OF.get(self.suffix, self.suffix)

    @property
    def extension(self) -> str:
        """``.nii.gz`` or ``.nii``."""
        return '.nii.gz' if self.path.name.endswith('.nii.gz') else '.nii'

    def left(self, reason: str, filtered: bool = False) -> Left:
        """Return the scan as a file that is not used for this reason."""
        return Left(self.path, self.subject, self.session, reason, filtered)

    def note(self, path: Path, text: str) -> Left:
        """Return a note on another file of the scan."""
        return Left(path, self.subject, self.session, text)


def index(settings: Settings) -> BIDSLayout:
    """Index the anatomical folders of the dataset, once, with pybids.

    With ``--bids-database-dir`` the whole dataset is indexed and kept there; without it only the wanted subjects are.
    """
    from bids.layout import BIDSLayout, BIDSLayoutIndexer

    keep = settings.bids_database_dir
    wanted = '|'.join(re.escape(label) for label in settings.participant_label if not keep) or '[^/]+'
    ignore = [
        re.compile(rf'^/(?!sub-({wanted})(/|$))'),
        re.compile(r'^/sub-[^/]+/(ses-[^/]+/)?(?!ses-[^/]*$|anat$)[^/]+$'),  # all folders but ses-* and anat
    ]
    indexer = BIDSLayoutIndexer(validate=False, ignore=ignore, index_metadata=False)
    try:
        return BIDSLayout(
            settings.bids_dir,
            validate=False,
            config=['bids', 'derivatives'],
            database_path=keep,
            indexer=indexer,
        )
    except Exception as error:
        where = f' (or its database in {keep})' if keep else ''
        raise InputError(f'pybids cannot index {settings.bids_dir}{where}: {error}') from error


def list_images(layout: BIDSLayout, suffixes: Iterable[str]) -> list[tuple[Path, dict[str, str]]]:
    """List the anatomical images of a dataset that have one of these suffixes.

    Returns
    -------
    list of (Path, dict)
        Each file, in the order of the names, with its entities (pybids' names, ``suffix`` and ``extension`` among
        them) as its name and its folders below the dataset's root say, values as they are written.

    Raises
    ------
    InputError
        If the index is of files outside of the dataset.
    """
    root = Path(layout.root)
    wanted = re.compile(rf'.*_({"|".join(map(re.escape, suffixes))})\.nii(\.gz)?')
    paths = [path for path in map(Path, layout.get_files(scope='self')) if path.parent.name == 'anat']
    if any(not path.is_relative_to(root) for path in paths):
        raise InputError(f'the index of {root} (--bids-database-dir) is of files in another place: delete it')
    found = [(path, parse_entities(path.relative_to(root))) for path in paths if wanted.fullmatch(path.name)]
    return sorted(found, key=lambda item: (str(item[0]).replace('.nii.gz', '.nii'), -len(str(item[0]))))


def parse_entities(name: Path) -> dict[str, str]:
    """Read the entities of a file (pybids' names, values as they are written) from its name relative to its dataset."""
    from bids.layout import parse_file_entities

    values = parse_file_entities(str(PurePosixPath('/', name.as_posix())), entities=_entities())
    return {key: str(value) for key, value in values.items()}


@cache
def _entities() -> list[typing.Any]:
    """Return pybids' entities, of scans and of derivatives."""
    from bids.layout.models import Config

    known = {}
    for config in ('bids', 'derivatives'):
        known.update(Config.load(config).entities)
    return list(known.values())


@dataclass(frozen=True)
class Found:
    """The anatomical files of some subjects.

    Attributes
    ----------
    scans
        The scans of the wanted contrasts, UNIT1 among them.
    left
        What is no scan of its own.
    others
        For each subject the suffixes of its other weighted images, which are not registered.
    strangers
        T1w scans that were not asked for: masks without a space in their names are theirs.
    """

    scans: list[Scan]
    left: list[Left]
    others: Mapping[str, list[str]]
    strangers: list[Scan] = field(default_factory=list)


def list_scans(layout: BIDSLayout, subjects: Iterable[str], contrasts: Iterable[str] = ('T1w', 'T2w')) -> Found:
    """List the anatomical files of the subjects, and set apart what is no scan of its own, or of no wanted contrast."""
    contrasts = set(contrasts)
    scans, left, strangers = [], [], []
    others: dict[str, list[str]] = {subject: [] for subject in subjects}
    inversions: dict[tuple, Path] = {}
    names: dict[tuple, Scan] = {}
    root = Path(layout.root)
    ignored = read_bidsignore(root)
    for path, entities in list_images(layout, (*WEIGHTED, *CONTRAST_OF)):
        if entities.get('subject') not in others:
            continue
        scan = Scan(path, entities['suffix'], {key: entities[key] for key in ENTITIES if key in entities})
        if scan.contrast not in contrasts:
            others[scan.subject].append(scan.suffix)
            strangers += [scan] if scan.contrast == 'T1w' else []
            continue
        name = path.relative_to(root)
        reason = 'listed in .bidsignore' if ignored.match_file(name.as_posix()) else misplaced(name)
        reason = reason or _why_no_scan(entities)
        if scan.suffix == 'MP2RAGE' and not reason:
            inversions[_inversion(scan.entities)] = path
            reason = _why_no_mp2rage(scan.entities)
        elif scan.suffix == 'T1w' and 'inv' in scan.entities:  # as they were called before BIDS had a suffix for them
            reason = reason or _why_no_mp2rage(scan.entities)
        if not reason:
            twin = names.setdefault((scan.suffix, *scan.entities.items()), scan)
            reason = '' if twin is scan else f'no BIDS entity in its name tells it from {twin.path.name}'
        if reason:
            left.append(scan.left(reason))
        else:
            scans.append(scan)
    return Found([_with_inversions(scan, inversions) for scan in scans], left, others, strangers)


def misplaced(name: Path) -> str:
    """Say how the name of a file contradicts the folders that it lies in; both relative to the dataset."""
    for folder in name.parts[:-2]:
        label = folder.partition('-')[0]
        named = re.search(rf'(?:^|_)({label}-[^_]*)_', name.name)
        if named and named[1] != folder:
            return f'its name says {named[1]}, its folder {folder}'
    return ''


def _why_no_scan(entities: Mapping[str, str]) -> str:
    """Say why a file with these entities is no scan of its own; empty when it is one."""
    derived = [label for key, label in _DERIVED.items() if key in entities]
    if derived:
        return f'has {derived[0]} in its name: made from a scan, not a scan'
    if entities['suffix'] == 'PDT2':
        return 'a PDT2 holds two contrasts in one file: split it into a PDw and a T2w'
    part = entities.get('part', 'mag')
    return '' if part == 'mag' else f'part-{part} is not a magnitude image'


def _why_no_mp2rage(entities: Mapping[str, str]) -> str:
    which = f'inv-{entities["inv"]}' if 'inv' in entities else 'one image'
    return f'{which} of an MP2RAGE is no T1w image by itself: the UNIT1 made from both inversions is'


def _inversion(entities: Mapping[str, str]) -> tuple:
    """Return what tells an inversion image from others: its number, and the entities that its UNIT1 has as well."""
    shared = tuple((key, value) for key, value in entities.items() if key not in ('inv', 'part', 'flip', 'echo'))
    number = entities.get('inv', '')
    return int(number) if number.isdigit() else 0, shared


def _with_inversions(scan: Scan, inversions: Mapping[tuple, Path]) -> Scan:
    if scan.suffix != 'UNIT1':
        return scan
    _, shared = _inversion(scan.entities)
    found = tuple(inversions[number, shared] for number in (1, 2) if (number, shared) in inversions)
    return Scan(scan.path, scan.suffix, scan.entities, found if len(found) == 2 else ())


def contrast_of(path: Path) -> str:
    """Return the contrast that a file's name speaks of: what stands between its last ``_`` and its extension."""
    suffix = path.name.partition('.')[0].rpartition('_')[2]
    return CONTRAST_OF.get(suffix, suffix)


def has_modality(root: Path, suffix: str) -> bool:
    """Tell whether anybody in a dataset has a file with this suffix; only names are looked at."""
    folders = ('sub-*/anat', 'sub-*/ses-*/anat')
    return any(True for folder in folders for _ in root.glob(f'{folder}/*_{suffix}.nii*'))


def read_bidsignore(root: Path) -> GitIgnoreSpec:
    """Read the ``.bidsignore`` of a dataset, whose patterns are those of git.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    from pathspec import GitIgnoreSpec

    path = root / '.bidsignore'
    try:
        lines = path.read_text(encoding='utf-8-sig').splitlines() if path.is_file() else []
    except (OSError, ValueError) as error:
        raise InputError(f'{path} cannot be read: {error}') from error
    return GitIgnoreSpec.from_lines(lines)
