"""The brain masks that a user has already: in folders of derivatives, and beside the scans."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bidsreg.bids.headers import check_header
from bidsreg.bids.images import voxel_order
from bidsreg.bids.names import ENTITIES, Contrasts, output_name
from bidsreg.bids.scans import EXTENSIONS, Scan, parse_entities

#: The suffix of fMRIPrep's brain masks of before BIDS derivatives.
OLD_SUFFIX = 'brainmask'
#: Values of ``desc`` and of ``label`` that mean the brain.
OF_THE_BRAIN = ('brain', 'synthstrip')
#: Values of ``space`` that mean the T1w's own grid.
OF_THE_T1W = ('T1w', 'orig', 'individual')
#: FreeSurfer's files that tell the brain from the rest, the better first; converted ones as well as its own.
FREESURFER = tuple(
    name + extension for name in ('brainmask', 'aparc+aseg', 'aseg') for extension in (*EXTENSIONS, '.mgz')
)


@dataclass(frozen=True)
class UserMask:
    """A brain mask of the user for one scan.

    Attributes
    ----------
    path
        The file; ``None`` when there is none.
    reason
        Words that say where it comes from, or why there is none.
    """

    path: Path | None
    reason: str


@dataclass(frozen=True)
class _Candidate:
    """A file that may be a scan's mask, what its name says, and where it lies."""

    path: Path
    entities: Mapping[str, str]
    where: str


def find_mask(scan: Scan, others: Sequence[Scan], derivatives: Sequence[Path], root: Path) -> UserMask:
    """Find the user's brain mask of a scan: first in the derivatives, in their order, then beside the scan.

    A mask belongs to a scan when its name has no entity that the scan lacks. One whose name has fewer (of all sessions,
    or of the mean of several runs) is taken only where it lies on the scan's grid. FreeSurfer's files are taken where
    its subject can mean this T1w alone.

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
    refused = []
    for candidate in _candidates(scan, others, derivatives, root):
        mine = {key: value for key, value in candidate.entities.items() if key in ENTITIES}
        exact = mine == dict(scan.entities)
        if exact or on_the_grid_of(candidate.path, scan.path):
            return UserMask(candidate.path, f'brain mask of the user {candidate.where}: {candidate.path.name}')
        errors = check_header(candidate.path).errors
        refused.append(f'{candidate.path.name} {candidate.where} ' + (errors[0] if errors else 'is of another grid'))
    freesurfer = _freesurfer(scan, others, derivatives)
    if freesurfer is not None:
        return UserMask(freesurfer, f'brain mask of FreeSurfer: {freesurfer.parent.parent.name}/mri/{freesurfer.name}')
    own = output_name('fixed_mask', scan.entities, Contrasts(fixed=scan.contrast)).name
    missing = f' ({own} is in none of --derivatives)' if derivatives and not refused else ''
    return UserMask(None, '; '.join([f'no brain mask of the user{missing}', *refused]))


def _candidates(scan: Scan, others: Sequence[Scan], derivatives: Sequence[Path], root: Path) -> Iterator[_Candidate]:
    """Yield the masks that may be the scan's: those named most like it first, folder by folder."""
    for folder, where in [*((folder, f'in {folder}') for folder in derivatives), (root, f'beside the {scan.contrast}')]:
        found = [
            _Candidate(path, entities, where)
            for place in places(scan, folder)
            for path in sorted(place.glob('*mask.nii*'))
            if path.name.endswith(EXTENSIONS)
            and _is_brain_mask(entities := parse_entities(path.relative_to(folder)))
            and _belongs(entities, scan, others)
        ]
        yield from sorted(found, key=lambda candidate: (-len(candidate.entities), candidate.path.name))


def places(scan: Scan, folder: Path) -> list[Path]:
    """Return where in a dataset the files lie that are about a scan: the folders of its session and of its subject."""
    subject = folder / f'sub-{scan.subject}'
    sessions = [subject / f'ses-{scan.session}' / 'anat'] if scan.session else []
    return [*sessions, subject / 'anat']


def _is_brain_mask(entities: Mapping[str, str]) -> bool:
    if entities.get('suffix') == OLD_SUFFIX:
        return True
    words = [entities[key] for key in ('desc', 'label') if key in entities]
    return entities.get('suffix') == 'mask' and bool(words) and all(word in OF_THE_BRAIN for word in words)


def _belongs(entities: Mapping[str, str], scan: Scan, others: Sequence[Scan]) -> bool:
    """Tell whether a mask with these entities may be that of the scan."""
    if any(scan.entities.get(key) != value for key, value in entities.items() if key in ENTITIES):
        return False
    space = entities.get('space')
    if scan.contrast == 'T1w':
        return space is None or space in OF_THE_T1W
    if space is not None:
        return space == scan.contrast
    # a mask without space is that of a T2w only where its name can mean no T1w, nor anything else
    return not any(
        all(other.entities.get(key) == value for key, value in entities.items() if key in ENTITIES)
        for other in others
        if other.contrast != scan.contrast
    )


def on_the_grid_of(mask: Path, scan: Path) -> bool:
    """Tell whether two files have one grid, whatever the order of their voxels."""
    one, other = check_header(mask), check_header(scan)
    if one.affine is None or other.affine is None:
        return False
    return voxel_order(one.affine, one.shape, other.affine, other.shape) is not None


def _freesurfer(scan: Scan, others: Sequence[Scan], derivatives: Sequence[Path]) -> Path | None:
    """Find the file of FreeSurfer's subject, where that was made from this T1w alone: it has no entities to tell."""
    if scan.contrast != 'T1w':
        return None
    fixed = [other for other in others if other.contrast == 'T1w']
    names = []
    if scan.session and [other for other in fixed if other.session == scan.session] == [scan]:
        names.append(f'sub-{scan.subject}_ses-{scan.session}')
    if fixed == [scan]:
        names.append(f'sub-{scan.subject}')
    for folder in derivatives:
        for name in names:
            for file in FREESURFER:
                if (path := folder / name / 'mri' / file).is_file():
                    return path
    return None
