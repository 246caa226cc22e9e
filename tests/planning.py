"""Plans of datasets of empty files: pairs are found by name."""

from __future__ import annotations

import json
from pathlib import Path

from bidsreg.bids.pairs import find_pairs
from bidsreg.settings import Settings


def dataset(root: Path, *names: str) -> Path:
    """Write empty files with these names to their places: pairs are found by name alone."""
    (root / 'dataset_description.json').parent.mkdir(parents=True, exist_ok=True)
    (root / 'dataset_description.json').write_text(json.dumps({'Name': 'x', 'BIDSVersion': '1.10.0'}))
    for name in names:
        parts = [part for part in name.split('_') if part.startswith(('sub-', 'ses-'))]
        folder = root.joinpath(*parts, 'anat')
        folder.mkdir(parents=True, exist_ok=True)
        (folder / (name if '.' in name else f'{name}.nii.gz')).touch()
    return root


def plan(root: Path, *names: str, **options):
    dataset(root / 'raw', *names)
    return find_pairs(Settings(bids_dir=root / 'raw', output_dir=root / 'out', **options))


def names(found) -> list[tuple[str, str]]:
    return [(pair.fixed.name.partition('.')[0], pair.moving.name.partition('.')[0]) for pair in found.pairs]


def reasons(found) -> dict[str, str]:
    return {item.path.name.partition('.')[0]: item.reason for item in found.left_out}
