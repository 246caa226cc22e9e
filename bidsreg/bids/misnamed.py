"""Images that look like a scan somebody lacks, but whose names or places BIDS does not know."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from bidsreg.bids.scans import EXTENSIONS, Left, parse_entities

#: Ends of the names of images, of whatever program.
_IMAGE = r'\.(nii(\.\w+)?|mg[hz]|nrrd|nhdr|mh[ad]|img(\.gz)?|mnc|dcm)'


def find_misnamed(root: Path, subject: str, contrasts: Iterable[str]) -> list[Left]:
    """Find what may have been meant as a scan of these contrasts, in the folders of a subject.

    Parameters
    ----------
    root
        The dataset.
    subject
        The label of the subject, as the name of its folder has it.
    contrasts
        Suffixes that the subject lacks: ``T1w``, ``FLAIR`` and so on.

    Returns
    -------
    list of Left
        A note on each such file, in the order of the names: what of it has to be mended.
    """
    folder = root / f'sub-{subject}'
    below = sorted(path for pattern in ('*', '*/*', '*/*/*') for path in folder.glob(pattern))
    notes = []
    for contrast in contrasts:
        for path in below:
            why = '' if path.name.startswith('.') else _why(path.relative_to(root), subject, contrast, path.is_dir())
            if why:
                notes.append(Left(path, subject, None, f'{path.relative_to(root).as_posix()} is not used: {why}'))
    return notes


def _why(name: Path, subject: str, contrast: str, is_folder: bool) -> str:
    """Say why a file is no scan of a contrast although its name has it in it; empty for other files."""
    # T1, t1w and T1W for T1w; what follows a - is the value of an entity
    word = rf'(?<![A-Za-z0-9+-]){re.escape(contrast.removesuffix("w"))}w?(?![A-Za-z0-9])'
    found = re.search(word, name.name, re.IGNORECASE)
    end = re.search(rf'{_IMAGE}$', name.name, re.IGNORECASE)
    if not found or not end:
        return ''
    return next(_faults(name, end[0], subject, contrast, is_folder), '')


def _faults(name: Path, extension: str, subject: str, contrast: str, is_folder: bool) -> Iterator[str]:
    if is_folder:
        yield 'it is a folder, not a file'
    if extension not in EXTENSIONS:
        yield f'it ends in {extension}, and only {" and ".join(EXTENSIONS)} are read'
    suffix = name.name.removesuffix(extension).rpartition('_')[2]
    if suffix != contrast:
        yield f'its name ends in {suffix}{extension} where BIDS has {contrast}{extension}'
    if name.parent.name != 'anat':
        yield 'it lies in no folder anat'
    read = parse_entities(name).get('subject')
    if read != subject:
        yield f'BIDS reads its subject as {read or "none"}: labels have letters and digits only, no _ and no -'
