"""The safe writing of what a normalisation leaves behind: as for pairs, the QC file is the last."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nb

from bidsreg.bids.images import load_image
from bidsreg.bids.names import sidecar
from bidsreg.bids.normalisation_sidecars import normalisation_sidecars
from bidsreg.bids.normalisations import (
    Normalisation,
    normalisation_fingerprint,
    normalisation_outputs,
    normalisation_stamps,
    stale_outputs,
)
from bidsreg.bids.publish import check_given, put_in_place
from bidsreg.bids.sidecars import read_json

if typing.TYPE_CHECKING:
    from bidsreg.settings import Settings


def publish_normalisation(
    files: Mapping[str, Path],
    unit: Normalisation,
    settings: Settings,
    facts: Mapping[str, Any],
    others: Mapping[Path, Path] | None = None,
) -> Path:
    """Put the finished files of a normalisation in their places, each by an atomic write, the QC file last.

    Parameters
    ----------
    files
        A file for each key of :func:`~bidsreg.bids.normalisations.normalisation_outputs`, except ``qc``.
    unit, settings
        The normalisation, and the settings it was made with.
    facts
        Goes into the QC file as it is.
    others
        ``{where it is to be: where it is now}``: figures.

    Returns
    -------
    Path
        The QC file.

    Raises
    ------
    ValueError
        When a product is missing.
    OSError
        When the disk is full or the folder cannot be written. What was complete before is then not complete any more.
    """
    goals = normalisation_outputs(unit, settings.output_dir)
    check_given(unit.name, goals, files)
    copies = {goals[key]: path for key, path in files.items() if key in goals} | dict(others or {})
    voxels = {key: _voxels(path) for key, path in files.items() if 'image' in key}
    goals['qc'].unlink(missing_ok=True)  # until the new one is there, it is not complete
    for path in stale_outputs(unit, settings.output_dir):
        for file in (path, sidecar(path)):
            file.unlink(missing_ok=True)
    texts = normalisation_sidecars(unit, settings, facts, voxels)
    marker = {
        'normalisation': unit.name,
        'space': unit.space.label,
        'template': {'origin': unit.origin, 'stamp': unit.stamp},
        'fingerprint': normalisation_fingerprint(unit, settings),
        'sources': normalisation_stamps(unit, settings),
        **({'sloppy': True} if settings.sloppy else {}),
        **facts,
    }
    described = {sidecar(goals[key]): text for key, text in texts.items()}
    put_in_place(unit.name, settings.output_dir, {**described, **copies, goals['qc']: marker})
    return goals['qc']


def _voxels(path: Path) -> list[float]:
    return [round(float(size), 4) for size in nb.affines.voxel_sizes(load_image(path).affine)]


def read_normalisation_qc(unit: Normalisation, settings: Settings) -> dict[str, Any] | None:
    """Read the QC file of a normalisation; ``None`` when there is none."""
    return read_json(normalisation_outputs(unit, settings.output_dir)['qc'])
