"""The descriptions beside the products: where each comes from (BIDS URIs), with what it was made, and what it is.

Also the one reader and the one writer of JSON objects for everything that lies in an output folder.
"""

from __future__ import annotations

import contextlib
import json
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bidsreg.bids.names import pair_outputs

if typing.TYPE_CHECKING:
    from bidsreg.bids.pairs import Pair
    from bidsreg.settings import Settings

#: The packages whose versions stand beside every product.
PACKAGES = ('bidsreg', 'antspyx', 'deepbet', 'nibabel', 'nipype', 'numpy', 'torch', 'torchdiffeq')


#: Of a whole number in a file: those of 64 bits have no more.
MOST_DIGITS = 20


# ------------------------------------------------------------------------------------------------------------- JSON
def read_json(path: Path) -> dict[str, Any] | None:
    """Read a JSON object; ``None`` when the file is not there, cannot be read, or holds something else."""
    try:
        value = parse_json(path.read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def parse_json(text: str) -> Any:
    """Return the value of a JSON text.

    Raises
    ------
    ValueError
        If it is none, is nested more deeply than can be read, or has a whole number that no computer counts to.
    """
    try:
        return json.loads(text, parse_int=_whole)
    except RecursionError:
        raise ValueError('it is nested too deeply') from None


def _whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f'a whole number has {len(digits)} digits')
    return int(digits)


def to_json(value: Any) -> str:
    """Return a value as the JSON text of a file; numpy's numbers and arrays become plain ones, paths texts."""
    return json.dumps(value, indent=2, default=_plain) + '\n'


def _plain(value: Any) -> Any:
    """Give json what it does not know: paths, numpy's numbers and arrays."""
    return value.tolist() if hasattr(value, 'tolist') else str(value)


# ------------------------------------------------------------------------------------------------------- provenance
def dataset_links(settings: Settings) -> dict[str, Path]:
    """Return the datasets that our BIDS URIs name: ``raw``, and one for each of ``--derivatives``."""
    links = {'raw': settings.bids_dir}
    for folder in settings.derivatives:
        name = ''.join(c for c in folder.name if c.isalnum() or c in '-_') or 'derivatives'
        while name in links:
            name += 'x'
        links[name] = folder
    return links


def bids_uri(path: Path, settings: Settings) -> str:
    """Return the BIDS URI of a file in its dataset; a file of no known dataset keeps its path, as a ``file://`` URI."""
    if path.is_relative_to(settings.output_dir):
        return f'bids::{path.relative_to(settings.output_dir).as_posix()}'
    inside = [(name, folder) for name, folder in dataset_links(settings).items() if path.is_relative_to(folder)]
    if not inside:
        return path.as_uri()
    name, folder = max(inside, key=lambda item: len(item[1].parts))  # derivatives may lie inside the raw dataset
    return f'bids:{name}:{path.relative_to(folder).as_posix()}'


def source_stamps(pair: Pair, settings: Settings) -> dict[str, list[int]]:
    """Return size (bytes) and time of change (ns) of what a pair is made from, by its BIDS URIs."""
    stamps = {}
    for path in filter(None, (pair.t1w, pair.t2w, pair.fixed_mask, pair.moving_mask, *pair.inversions)):
        with contextlib.suppress(OSError):  # a file that is gone has no stamp, and so differs from any that had one
            state = path.stat()
            stamps[bids_uri(path, settings)] = [state.st_size, state.st_mtime_ns]
    return stamps


def software_versions() -> dict[str, str]:
    """Return the versions of :data:`PACKAGES` as far as they are installed, without importing any of them."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


# --------------------------------------------------------------------------------------------------------- sidecars
def sidecars(pair: Pair, settings: Settings, facts: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Describe every product of a pair, except its QC file, in the words of BIDS.

    Parameters
    ----------
    pair, settings
        The pair, and the settings it was made with.
    facts
        As for :func:`bidsreg.bids.publish.publish`.

    Returns
    -------
    dict
        The content of a sidecar for each key of :data:`~bidsreg.bids.names.PRODUCTS` but ``qc``.

    """
    known = _Provenance.of(pair, settings, facts)
    texts = {**_native(known), **_resampled(known), **_transforms(known)}
    versions = ', '.join(f'{name} {number}' for name, number in software_versions().items())  # BIDS wants a string
    common = {'Fingerprint': settings.fingerprint(), 'SoftwareVersions': versions}
    return {key: {**text, **common} for key, text in texts.items()}


#: What was done to the noise of a UNIT1, by whether its inversion images were there.
_UNI = {
    True: 'a UNIT1 whose ratio was formed again with both inversion images, so that its air is dark; ',
    False: 'a UNIT1 whose air, told by its noise, was set to zero; ',
}


@dataclass(frozen=True)
class _Provenance:
    """The facts that the sidecars of a pair share: names of its files, and how it was made.

    Attributes
    ----------
    ours
        BIDS URI of each product.
    raw_t1w, raw_t2w, mask_source
        BIDS URIs of the scans, and of what the brain mask was made from.
    mask_method, bias
        Words about how the brain mask was found, and about the bias field.
    moving_mask
        BIDS URI of the user's own mask of the T2w; empty where there is none.
    inversions
        BIDS URIs of the images by which a ``UNIT1`` was cleaned.
    uni
        Words about the noise in the air of a ``UNIT1``; empty for another T1w.
    stripped
        For ``t1w`` and ``t2w``: only the brain is left in the scan.
    how
        Method, settings and seed of the deformation.

    """

    ours: Mapping[str, str]
    raw_t1w: str
    raw_t2w: str
    mask_source: str
    mask_method: str
    moving_mask: str
    inversions: tuple[str, ...]
    bias: str
    uni: str
    stripped: Mapping[str, bool]
    how: Mapping[str, Any]

    @classmethod
    def of(cls, pair: Pair, settings: Settings, facts: Mapping[str, Any]) -> _Provenance:
        raw_t1w = bids_uri(pair.t1w, settings)
        result = facts.get('result') or {}
        corrected = settings.bias_correction == 'n4'
        return cls(
            ours={key: bids_uri(path, settings) for key, path in pair_outputs(pair, settings.output_dir).items()},
            raw_t1w=raw_t1w,
            raw_t2w=bids_uri(pair.t2w, settings),
            mask_source=bids_uri(pair.fixed_mask, settings) if pair.fixed_mask else raw_t1w,
            mask_method=facts.get('mask_method') or pair.fixed_mask_reason,
            moving_mask=bids_uri(pair.moving_mask, settings) if pair.moving_mask else '',
            inversions=tuple(bids_uri(path, settings) for path in pair.inversions),
            bias='corrected for the bias field (N4)' if corrected else 'bias field not corrected',
            uni=_UNI[bool(pair.inversions)] if pair.is_uni else '',
            stripped={name: bool(facts.get(f'{name}_skull_stripped', False)) for name in ('t1w', 't2w')},
            how={
                'Method': result.get('method', settings.method),
                'Settings': result.get('settings')
                or {'working_resolution': settings.working_resolution, 'sloppy': settings.sloppy},
                'RandomSeed': settings.random_seed,
            },
        )

    @property
    def in_t1w(self) -> dict[str, Any]:
        """The keys of all T2w data on the grid of the T1w."""
        return {'SpatialReference': self.ours['t1w_preproc'], 'SkullStripped': self.stripped['t2w']}


def _native(known: _Provenance) -> dict[str, dict[str, Any]]:
    """Describe the scans on their own grids, and the two masks."""
    same = f'header made sane, {known.bias}; no voxel was interpolated'
    return {
        't1w_preproc': {
            'Description': f'The T1w as it was used: {known.uni}{same}',
            'Sources': [known.raw_t1w, *known.inversions],
            'SpatialReference': known.raw_t1w,
            'SkullStripped': known.stripped['t1w'],
        },
        't2w_preproc': {
            'Description': f'The T2w as it was used: {same}',
            'Sources': [known.raw_t2w],
            'SpatialReference': known.raw_t2w,
            'SkullStripped': known.stripped['t2w'],
        },
        't1w_mask': {
            'Description': 'Brain mask of the T1w',
            'Type': 'Brain',
            'Sources': [known.mask_source],
            'SpatialReference': known.raw_t1w,
            'Method': known.mask_method,
        },
        't2w_mask': {**_t2w_mask(known), 'Type': 'Brain', 'SpatialReference': known.raw_t2w},
    }


def _t2w_mask(known: _Provenance) -> dict[str, Any]:
    if known.moving_mask:
        return {'Description': 'Brain mask of the T2w, given by the user', 'Sources': [known.moving_mask]}
    return {
        'Description': 'Brain mask of the T1w brought onto the grid of the T2w by the rigid alignment',
        'Sources': [known.ours['t1w_mask'], known.raw_t2w],
    }


def _resampled(known: _Provenance) -> dict[str, dict[str, Any]]:
    """Describe the images on each other's grids, and the Jacobian determinant."""
    interpolated = f'{known.bias}; interpolated once, from its native grid'
    return {
        't2w_in_t1w': {
            'Description': f'The T2w on the grid of the T1w, {interpolated}',
            'Sources': [known.raw_t2w, known.ours['forward_xfm']],
            **known.in_t1w,
            **known.how,
        },
        't1w_in_t2w': {
            'Description': f'The T1w on the grid of the T2w, {interpolated}',
            'Sources': [known.ours['t1w_preproc'], known.ours['inverse_xfm']],
            'SpatialReference': known.raw_t2w,
            'SkullStripped': known.stripped['t1w'],
            **known.how,
        },
        'jacobian': {
            'Description': 'Jacobian determinant of the deformation from T1w to T2w space, without the affine; '
            'above 1 where the T2w is larger',
            'Sources': [known.ours['forward_xfm']],
            **known.in_t1w,
            **known.how,
        },
    }


def _transforms(known: _Provenance) -> dict[str, dict[str, Any]]:
    """Describe the transforms."""
    ours, raw_t2w = known.ours, known.raw_t2w
    sources = [ours['t1w_preproc'], ours['t1w_mask'], raw_t2w, ours['t2w_mask']]
    forward = {
        'From': raw_t2w,
        'To': ours['t1w_preproc'],
        'Convention': 'ITK, LPS+ mm: apply to the native T2w with the T1w as reference (antsApplyTransforms -t)',
        **known.how,
    }
    inverse = {
        'From': ours['t1w_preproc'],
        'To': raw_t2w,
        'Convention': 'ITK, LPS+ mm: apply to the T1w with the native T2w as reference (antsApplyTransforms -t)',
        **known.how,
    }
    return {
        'forward_xfm': {
            'Description': 'Brings T2w data onto the grid of the T1w: affine and displacement field',
            'Sources': sources,
            **forward,
        },
        'inverse_xfm': {
            'Description': 'Brings T1w data onto the grid of the T2w: inverse displacement field and affine',
            'Sources': sources,
            **inverse,
        },
        'affine_xfm': {
            'Description': 'The affine part alone of the transform that brings T2w data onto the grid of the T1w',
            'Sources': sources,
            **forward,
            'Method': 'ANTs, mutual information: rigid, then affine',
        },
    }
