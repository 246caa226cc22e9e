"""The kinds of files that can be carried, and which of them a file is."""

from __future__ import annotations

from pathlib import Path

from bidsreg.apply.base import FileKind
from bidsreg.apply.images import Intensities, Labels
from bidsreg.apply.points import Points
from bidsreg.apply.surfaces import Surface
from bidsreg.apply.volumes import told_by_content, told_by_header
from bidsreg.errors import InputError

KINDS: dict[str, FileKind] = {kind.name: kind for kind in (Intensities(), Labels(), Points(), Surface())}
"""By the names that ``--kind`` takes."""

#: Suffixes of BIDS of images of labels.
LABEL_SUFFIXES = frozenset({'dseg', 'mask', 'roi'})
#: Those of images of intensities.
INTENSITY_SUFFIXES = frozenset(
    {'T1w', 'T2w', 'PDw', 'FLAIR', 'T2starw', 'T1rho', 'UNIT1', 'inplaneT1', 'inplaneT2', 'PDT2', 'angio', 'T1map'}
    | {'T2map', 'T2starmap', 'R1map', 'R2map', 'R2starmap', 'PDmap', 'MTRmap', 'MTsat', 'M0map', 'TB1map', 'Chimap'}
    | {'SWImagnitude', 'SWI', 'MEGRE', 'MESE', 'MP2RAGE', 'bold', 'sbref', 'cbv', 'boldref', 'dwi', 'dwiref', 'asl'}
    | {'m0scan', 'cbf', 'pet', 'magnitude', 'magnitude1', 'magnitude2', 'probseg', 'statmap', 'CT'}
)


def kind_of(path: Path, asked: str | None = None) -> tuple[FileKind, str]:
    """Return what a file is, and a phrase that says by what.

    Images are labels or intensities by the suffix of their BIDS name, else by the intent of their header, else by
    their voxels.

    Parameters
    ----------
    path
        The file.
    asked
        A key of :data:`KINDS` that the user gave.

    Raises
    ------
    InputError
        If it is no such file, or there is no telling.
    """
    candidates = [kind for kind in KINDS.values() if path.name.endswith(kind.endings)]
    if not candidates:
        known = ', '.join(dict.fromkeys(ending for kind in KINDS.values() for ending in kind.endings))
        raise InputError(f'{path}: what can be carried ends in {known}.')
    if asked is not None:
        if KINDS[asked] not in candidates:
            raise InputError(f'--kind {asked}: {path} is {" or ".join(kind.name for kind in candidates)} by its name.')
        return KINDS[asked], 'as --kind says'
    if len(candidates) == 1:
        return candidates[0], 'by how its name ends'
    suffix = path.name.partition('.')[0].rpartition('_')[2]
    if suffix in LABEL_SUFFIXES | INTENSITY_SUFFIXES:
        return KINDS['labels' if suffix in LABEL_SUFFIXES else 'image'], f'by the suffix {suffix} of its name'
    if told_by_header(path):
        return KINDS['labels'], 'by the intent in its header'
    labels = told_by_content(path)
    if labels is None:
        raise InputError(f'{path}: whole numbers that may be labels or intensities: say --kind labels or --kind image.')
    return KINDS['labels' if labels else 'image'], 'by its voxels'
