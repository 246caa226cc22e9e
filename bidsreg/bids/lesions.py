"""The lesions that a user has drawn: masks and segmentations in folders of derivatives, and beside the scans."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bidsreg.bids.masks import OF_THE_T1W, on_the_grid_of, places
from bidsreg.bids.names import ENTITIES
from bidsreg.bids.scans import EXTENSIONS, Scan, misplaced, parse_entities
from bidsreg.settings import CHOICES
from bidsreg.tables import read_table

#: Words that mean a lesion, as values of ``label`` and ``desc`` and in the names of a lookup table.
WORDS = frozenset(
    {
        'lesion',
        'lesions',
        'stroke',
        'infarct',
        'infarction',
        'tumor',
        'tumour',
        'oedema',
        'edema',
        'resection',
        'cavity',
    }
)
#: Words right before one of these that mean what is none: of ``non-enhancing tumor`` it is not the tumour that is not.
NONE = frozenset({'non', 'no', 'not'})
#: Words that mean what is none wherever they stand.
NONE_ANYWHERE = frozenset({'without', 'healthy', 'free'})
#: Words that may stand between.
ARTICLES = frozenset({'a', 'an', 'any', 'the'})
#: Suffixes of files that are zero where no lesion is.
MASKS = ('mask', 'roi')
#: Values of ``desc`` of segmentations whose tables name all that their atlas knows, lesions among it, in every head.
ATLASES = frozenset({'aseg', 'aparcaseg', 'aparc+aseg'})


class TableError(ValueError):
    """A lookup table that is there and cannot be read: whether it names a lesion is not known."""


@dataclass(frozen=True)
class Lesion:
    """A file that says where a lesion is.

    Attributes
    ----------
    path
        The file, in the world of its scan.
    values
        The values of a segmentation that mean a lesion; empty for a mask, where all above zero does.
    table
        The lookup table of a segmentation.
    """

    path: Path
    values: tuple[int, ...] = ()
    table: Path | None = None


@dataclass(frozen=True)
class UserLesions:
    """The lesions that a user gives for one scan.

    Attributes
    ----------
    files
        All files that say where one is; together they are the lesion.
    reasons
        What was taken, and what was left and why.
    problems
        Why a file that says of itself that it is of a lesion of the scan cannot be used.
    """

    files: tuple[Lesion, ...] = ()
    reasons: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def find_lesions(scan: Scan, others: Sequence[Scan], derivatives: Sequence[Path], root: Path) -> UserLesions:
    """Find what a user gives of the lesions of a scan: all of it, in the derivatives and beside the scan.

    A file belongs to a scan when its name has no entity that the scan lacks, and ``space`` says the scan's own; without
    ``space`` it is of that scan on whose grid it lies, of a T1w where it lies on none. A segmentation counts where its
    lookup table names a lesion.

    Parameters
    ----------
    scan
        A T1w or one of another contrast.
    others
        All scans of the subject.
    derivatives
        Folders of derivatives.
    root
        The dataset.
    """
    files: list[Lesion] = []
    reasons: list[str] = []
    problems: list[str] = []
    for folder, where in [*((folder, f'in {folder}') for folder in derivatives), (root, f'beside the {scan.contrast}')]:
        for path, entities in _candidates(scan, folder):
            named = bool(_words_of(entities) & WORDS)
            if wrong := misplaced(path.relative_to(folder)):
                if named:
                    reasons.append(f'{path.name} {where} is not taken for a lesion: {wrong}')
                continue
            if not _belongs(path, entities, scan, others):
                continue
            try:
                values, table = ((), None) if entities['suffix'] in MASKS else _looked_up(path, entities, folder)
            except ValueError as error:
                if named:
                    problems.append(f'{path}: {error}')
                elif isinstance(error, TableError):  # it may name a lesion
                    reasons.append(f'{path.name} {where} is not looked through for lesions: {error}')
                continue
            files.append(Lesion(path, values, table))
            reasons.append(f'lesion of the {scan.contrast} {where}: {path.name}')
    return UserLesions(tuple(files), tuple(reasons), tuple(problems))


def idle_lesions(
    used: Sequence[Scan], others: Sequence[Scan], derivatives: Sequence[Path], root: Path
) -> dict[Path, str]:
    """Return the files of a subject that say that they are of a lesion of a scan, but of none that is used, and why.

    Those in the space of a template are for somebody else.

    Parameters
    ----------
    used
        The scans of the subject's pairs.
    others, derivatives, root
        As for :func:`find_lesions`.
    """
    found: dict[Path, str] = {}
    for folder in (*derivatives, root):
        for path, entities in (item for scan in used for item in _candidates(scan, folder)):
            space = entities.get('space')
            if path in found or not _words_of(entities) & WORDS or misplaced(path.relative_to(folder)):
                continue
            if space not in (None, *OF_THE_T1W, *CHOICES['modalities']):
                continue
            if not any(_belongs(path, entities, scan, others) for scan in used):
                why = 'its name fits none' if space is None else f'it is of a {space}'
                found[path] = f'{path.name} is a lesion of no scan that is registered ({why}): it is not left out'
    return found


def _candidates(scan: Scan, folder: Path) -> Iterator[tuple[Path, Mapping[str, str]]]:
    """Yield the files of a subject that may be of lesions, with their entities."""
    for place in places(scan, folder):
        for path in sorted(place.glob('*.nii*')):
            if not path.name.endswith(EXTENSIONS):
                continue
            entities = parse_entities(path.relative_to(folder))
            suffix, words = entities.get('suffix'), _words_of(entities)
            if (suffix in MASKS and words & WORDS) or (suffix == 'dseg' and not words & ATLASES):
                yield path, entities


def _words_of(entities: Mapping[str, str]) -> frozenset[str]:
    return frozenset(entities[key].lower() for key in ('label', 'desc') if key in entities)


def _belongs(path: Path, entities: Mapping[str, str], scan: Scan, others: Sequence[Scan]) -> bool:
    """Tell whether a file with these entities is about the scan."""
    mine = {key: value for key, value in entities.items() if key in ENTITIES}
    if not _fits(mine, scan):
        return False
    space = entities.get('space')
    if space is not None:
        return space == scan.contrast or (scan.contrast == 'T1w' and space in OF_THE_T1W)
    possible = [other for other in others if _fits(mine, other)]
    possible = [other for other in possible if on_the_grid_of(path, other.path)] or possible
    return scan in ([other for other in possible if other.contrast == 'T1w'] or possible)


def _fits(entities: Mapping[str, str], scan: Scan) -> bool:
    return all(scan.entities.get(key) == value for key, value in entities.items())


# ---------------------------------------------------------------------------------------------------- lookup tables
def _looked_up(path: Path, entities: Mapping[str, str], folder: Path) -> tuple[tuple[int, ...], Path]:
    """Return the values of a segmentation that mean a lesion, and the table that says so.

    Raises
    ------
    ValueError
        If there is no table, it cannot be read, or it names no lesion.
    """
    table = _table_of(path, entities, folder)
    if table is None:
        raise ValueError(
            'there is no lookup table of this segmentation (the same name with .tsv, or one further up): '
            'which of its values are lesions is not known'
        )
    values = lesion_values(table)
    if not values:
        raise ValueError(f'its lookup table {table.name} names no lesion')
    return values, table


def _table_of(path: Path, entities: Mapping[str, str], folder: Path) -> Path | None:
    """Find the lookup table of a segmentation: by BIDS' inheritance, the nearest, and of these the most like it."""
    for place in (path.parent, *path.parent.parents):
        found = [
            (len(own), table)
            for table in sorted(place.glob('*dseg.tsv'))
            if (own := parse_entities(table.relative_to(folder))).get('suffix') == 'dseg'
            and all(entities.get(key) == value for key, value in own.items() if key not in ('extension', 'datatype'))
        ]
        if found:
            return max(found, key=lambda item: item[0])[1]
        if place == folder:
            return None
    return None


def lesion_values(table: Path) -> tuple[int, ...]:
    """Return the values whose names in a lookup table (columns ``index`` and ``name``) mean a lesion.

    Raises
    ------
    TableError
        If the table cannot be read, or lacks these columns.
    """
    try:
        rows = read_table(table)
        pairs = list(zip(rows['index'], rows['name'], strict=True))
        return tuple(sorted({_whole(index) for index, name in pairs if means_lesion(name)} - {0}))
    except (OSError, KeyError, ValueError) as error:
        raise TableError(
            f'its lookup table {table.name} cannot be read as one with the columns index and name ({error})'
        ) from error


def _whole(text: str) -> int:
    """Return the whole number that a text says, such as 3 or 3.0."""
    number = float(text)
    if not number.is_integer():
        raise ValueError(f'{text} is no value of a label')
    return int(number)


def means_lesion(name: str) -> bool:
    """Tell whether the name of a structure means a lesion.

    >>> [means_lesion(name) for name in ('Left-Lesion', 'non-enhancing tumor', 'non-lesion', 'Thalamus')]
    [True, True, False, False]
    """
    words = [word for word in re.findall('[a-z]+', name.lower()) if word not in ARTICLES]
    meant = any(word in WORDS and before not in NONE for before, word in zip(['', *words], words, strict=False))
    return meant and not NONE_ANYWHERE & set(words)
