"""Results under the names of an earlier release: found, told, and removed when their pair is done anew."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

#: Endings of files that now have other names.
ENDINGS = (
    '_space-T1w_desc-jacobian_T2w.nii.gz',
    '_space-T1w_desc-jacobian_T2w.json',
    '_from-T2w_to-T1w_mode-image_desc-affine_xfm.txt',
)


def earlier_files(output_dir: Path) -> dict[str, list[Path]]:
    """Find the files of an earlier release in an output folder, by the names of their pairs."""
    found: dict[str, list[Path]] = {}
    for folder in ('sub-*/anat', 'sub-*/ses-*/anat'):
        for ending in ENDINGS:
            for path in sorted(output_dir.glob(f'{folder}/*{ending}')):
                found.setdefault(path.name.removesuffix(ending), []).append(path)
    return found


def describe_earlier(found: Iterable[str], planned: Iterable[str]) -> str:
    """Say what was found of an earlier release, and what a run will do with it; empty when nothing was.

    Parameters
    ----------
    found, planned
        Names of pairs: of the earlier release, and of this run.
    """
    found, planned = set(found), set(planned)
    if not found:
        return ''
    mine, others = sorted(found & planned), sorted(found - planned)
    parts = [f'the output folder holds {len(found)} pair(s) of an earlier release, whose files have other names']
    if mine:
        parts.append(f'{", ".join(mine)} of this run: done anew, and the old files removed with that')
    if others:
        parts.append(f'{", ".join(others)}: left as they are, and left out of the study until they are done anew')
    return '; '.join(parts)


def remove_earlier(pair_name: str, output_dir: Path) -> None:
    """Remove the files of an earlier release of a pair that has been done anew."""
    for path in earlier_files(output_dir).get(pair_name, ()):
        path.unlink(missing_ok=True)
