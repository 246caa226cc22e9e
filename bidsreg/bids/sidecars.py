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
        value = parse_json(path.read_text(encoding='utf-8-sig'))
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
    lesions = (path for one in (*pair.fixed_lesions, *pair.moving_lesions) for path in (one.path, one.table))
    others = pair.fixed_mask, pair.moving_mask, *pair.inversions, *lesions
    for path in filter(None, (pair.fixed, pair.moving, *others)):
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
    return {key: {**text, **_made_by(settings)} for key, text in texts.items()}


def _made_by(settings: Settings) -> dict[str, str]:
    versions = ', '.join(f'{name} {number}' for name, number in software_versions().items())  # BIDS wants a string
    return {'Fingerprint': settings.fingerprint(), 'SoftwareVersions': versions}


def lesion_sidecar(pair: Pair, settings: Settings, facts: Mapping[str, Any], end: str) -> dict[str, Any]:
    """Describe the lesions of a scan (``fixed`` or ``moving``) as they were left out."""
    known = _Provenance.of(pair, settings, facts)
    versions = ', '.join(f'{name} {number}' for name, number in software_versions().items())
    return {
        'Description': f'Lesions of the {getattr(known, end)}, left out of bias field, alignment and evidence',
        'Type': 'Lesion',
        'Sources': list(known.lesions[end]),
        'SpatialReference': known.raw_fixed if end == 'fixed' else known.raw_moving,
        'Method': facts.get(f'{end}_lesion_method', ''),
        'Fingerprint': settings.fingerprint(),
        'SoftwareVersions': versions,
    }


#: What was done to the noise of a UNIT1, by whether its inversion images were there.
_UNI = {
    True: 'a UNIT1 whose ratio was formed again with both inversion images, so that its air is dark; ',
    False: 'a UNIT1 whose air, told by its noise, was set to zero; ',
}


#: What is said of a scan without its bias field.
CORRECTED = 'corrected for the bias field (N4)'


@dataclass(frozen=True)
class _Provenance:
    """The facts that the sidecars of a pair share: names of its files, and how it was made.

    Attributes
    ----------
    fixed, moving
        The contrasts.
    ours
        BIDS URI of each product.
    raw_fixed, raw_moving, mask_source
        BIDS URIs of the scans, and of what the brain mask was made from.
    mask_method, bias
        Words about how the brain mask was found, and about the bias field.
    moving_mask
        BIDS URI of the user's own mask of the moving scan; empty where there is none.
    lesions
        For ``fixed`` and ``moving``: BIDS URIs of the user's lesions of that scan.
    inversions
        BIDS URIs of the images by which a ``UNIT1`` was cleaned.
    uni
        Words about the noise in the air of a ``UNIT1``; empty for another scan.
    stripped
        For ``fixed`` and ``moving``: only the brain is left in the scan.
    how
        Method, settings and seed of the deformation.
    linear
        Which linear alignment was kept, with the evidence for both; empty where that is not known.

    """

    fixed: str
    moving: str
    ours: Mapping[str, str]
    raw_fixed: str
    raw_moving: str
    mask_source: str
    mask_method: str
    moving_mask: str
    lesions: Mapping[str, tuple[str, ...]]
    inversions: tuple[str, ...]
    bias: str
    uni: str
    stripped: Mapping[str, bool]
    how: Mapping[str, Any]
    linear: Mapping[str, Any]

    @classmethod
    def of(cls, pair: Pair, settings: Settings, facts: Mapping[str, Any]) -> _Provenance:
        raw_fixed = bids_uri(pair.fixed, settings)
        result = facts.get('result') or {}
        corrected = settings.bias_correction == 'n4'
        return cls(
            fixed=pair.fixed_contrast,
            moving=pair.moving_contrast,
            ours={key: bids_uri(path, settings) for key, path in pair_outputs(pair, settings.output_dir).items()},
            raw_fixed=raw_fixed,
            raw_moving=bids_uri(pair.moving, settings),
            mask_source=bids_uri(pair.fixed_mask, settings) if pair.fixed_mask else raw_fixed,
            mask_method=facts.get('mask_method') or pair.fixed_mask_reason,
            moving_mask=bids_uri(pair.moving_mask, settings) if pair.moving_mask else '',
            lesions={
                'fixed': tuple(bids_uri(lesion.path, settings) for lesion in pair.fixed_lesions),
                'moving': tuple(bids_uri(lesion.path, settings) for lesion in pair.moving_lesions),
            },
            inversions=tuple(bids_uri(path, settings) for path in pair.inversions),
            bias=CORRECTED if corrected else 'bias field not corrected',
            uni=_UNI[bool(pair.inversions)] if pair.is_uni else '',
            stripped={
                'fixed': bool(facts.get(f'{pair.fixed_contrast.lower()}_skull_stripped', False)),
                'moving': bool(facts.get(f'{pair.moving_contrast.lower()}_skull_stripped', False)),
            },
            how={
                'Method': result.get('method', settings.method),
                'Settings': result.get('settings')
                or {'working_resolution': settings.working_resolution, 'sloppy': settings.sloppy},
                'RandomSeed': settings.random_seed,
            },
            linear=facts.get('linear') or {},
        )

    def spared(self, end: str) -> str:
        """Say that the bias field of a scan was not estimated from its lesions, where there are some."""
        corrected = self.lesions[end] and self.bias == CORRECTED
        return '; the bias field was not estimated from its lesions' if corrected else ''

    @property
    def in_fixed(self) -> dict[str, Any]:
        """The keys of all moving data on the fixed grid."""
        return {'SpatialReference': self.ours['fixed_preproc'], 'SkullStripped': self.stripped['moving']}


def _native(known: _Provenance) -> dict[str, dict[str, Any]]:
    """Describe the scans on their own grids, and the two masks."""
    fixed, moving = known.fixed, known.moving
    same = f'header made sane, {known.bias}; no voxel was interpolated'
    return {
        'fixed_preproc': {
            'Description': f'The {fixed} as it was used: {known.uni}{same}{known.spared("fixed")}',
            'Sources': [known.raw_fixed, *known.inversions, *known.lesions['fixed']],
            'SpatialReference': known.raw_fixed,
            'SkullStripped': known.stripped['fixed'],
        },
        'moving_preproc': {
            'Description': f'The {moving} as it was used: {same}{known.spared("moving")}',
            'Sources': [known.raw_moving, *known.lesions['moving']],
            'SpatialReference': known.raw_moving,
            'SkullStripped': known.stripped['moving'],
        },
        'fixed_mask': {
            'Description': f'Brain mask of the {fixed}',
            'Type': 'Brain',
            'Sources': [known.mask_source],
            'SpatialReference': known.raw_fixed,
            'Method': known.mask_method,
        },
        'moving_mask': {**_moving_mask(known), 'Type': 'Brain', 'SpatialReference': known.raw_moving},
    }


def _moving_mask(known: _Provenance) -> dict[str, Any]:
    fixed, moving = known.fixed, known.moving
    if known.moving_mask:
        return {'Description': f'Brain mask of the {moving}, given by the user', 'Sources': [known.moving_mask]}
    return {
        'Description': f'Brain mask of the {fixed} brought onto the grid of the {moving} by the rigid alignment',
        'Sources': [known.ours['fixed_mask'], known.raw_moving],
    }


def _resampled(known: _Provenance) -> dict[str, dict[str, Any]]:
    """Describe the images on each other's grids, and the Jacobian determinant."""
    fixed, moving = known.fixed, known.moving
    interpolated = f'{known.bias}; interpolated once, from its native grid'
    return {
        'moving_in_fixed': {
            'Description': f'The {moving} on the grid of the {fixed}, {interpolated}',
            'Sources': [known.raw_moving, known.ours['forward_xfm']],
            **known.in_fixed,
            **known.how,
        },
        'fixed_in_moving': {
            'Description': f'The {fixed} on the grid of the {moving}, {interpolated}',
            'Sources': [known.ours['fixed_preproc'], known.ours['inverse_xfm']],
            'SpatialReference': known.raw_moving,
            'SkullStripped': known.stripped['fixed'],
            **known.how,
        },
        'jacobian': {
            'Description': f'Jacobian determinant of the deformation from {fixed} to {moving} space, without the '
            f'affine; above 1 where the {moving} is larger',
            'Sources': [known.ours['forward_xfm']],
            **known.in_fixed,
            **known.how,
        },
    }


#: What was done about the bias fields of the two scans of a ratio, by its kind.
_RATIO_BIAS = {
    'uncalibrated': 'neither scan was corrected: the field of the receiving coil, which both have, cancels',
    'calibrated': '{} in both scans: lines with an intercept keep a part of a field that both have',
}


def ratio_sidecar(pair: Pair, settings: Settings, facts: Mapping[str, Any], made: Mapping[str, Any]) -> dict[str, Any]:
    """Describe the ratio of a pair's T1w and T2w.

    Parameters
    ----------
    pair, settings, facts
        As for :func:`sidecars`.
    made
        How it was made (:func:`bidsreg.preparation.ratio.make_ratio`).
    """
    known = _Provenance.of(pair, settings, facts)
    t1w_is_fixed = known.fixed == 'T1w'
    transform = known.ours['forward_xfm' if t1w_is_fixed else 'inverse_xfm']
    mask = known.ours['fixed_mask' if t1w_is_fixed else 'moving_mask']
    text = {
        'Description': f'T1w / T2w on the grid of the T1w, {made["kind"]}; 0 outside of the brain, and where a scan is '
        'not above zero. The T2w was interpolated once, linearly, from its native grid',
        'Sources': [known.raw_fixed, known.raw_moving, transform, mask],
        'SpatialReference': known.ours['fixed_preproc' if t1w_is_fixed else 'moving_preproc'],
        'SkullStripped': True,
        'Bias': _RATIO_BIAS[made['kind']].format(known.bias),
        'Outliers': 'values above the ceiling were set to it',
        'Ceiling': made['ceiling'],
        'ClampedShare': made['clamped'],
        'WithoutRatioShare': made['without'],
        'MedianWhiteMatter': made['median']['white'],
        'MedianGreyMatter': made['median']['grey'],
        'Units': 'arbitrary',
    }
    if 'calibration' in made:
        text |= {
            'Calibration': made['calibration'],
            'CalibrationPassedOver': made['passed_over'],
            'CalibrationPoints': made['points'],
            'CalibrationReference': made['reference'],
            'CalibrationReferenceSource': made['reference_source'],
            'CalibrationLines': made['lines'],
        }
    return {**text, **known.how, **_made_by(settings)}


def _choice(linear: Mapping[str, Any]) -> dict[str, Any]:
    """Tell which linear alignment was kept, and the evidence for both, where that is known."""
    if not linear:
        return {}
    known = {'Kept': linear['kept'], 'HeldOutMindDistance': dict(linear['mind_heldout'])}
    # a QC file of before has none
    return known | ({'LargestStretch': linear['stretch']} if 'stretch' in linear else {})


_CONVENTION = 'ITK, LPS+ mm: apply to the {} with the {} as reference (antsApplyTransforms -t)'


def _transforms(known: _Provenance) -> dict[str, dict[str, Any]]:
    """Describe the transforms."""
    ours, raw_moving, fixed, moving = known.ours, known.raw_moving, known.fixed, known.moving
    sources = [ours['fixed_preproc'], ours['fixed_mask'], raw_moving, ours['moving_mask']]
    sources += [uri for end in ('fixed', 'moving') for uri in known.lesions[end]]
    forward = {
        'From': raw_moving,
        'To': ours['fixed_preproc'],
        'Convention': _CONVENTION.format(f'native {moving}', fixed),
        **known.how,
    }
    inverse = {
        'From': ours['fixed_preproc'],
        'To': raw_moving,
        'Convention': _CONVENTION.format(fixed, f'native {moving}'),
        **known.how,
    }
    return {
        'forward_xfm': {
            'Description': f'Brings {moving} data onto the grid of the {fixed}: affine and displacement field',
            'Sources': sources,
            **forward,
        },
        'inverse_xfm': {
            'Description': f'Brings {fixed} data onto the grid of the {moving}: inverse displacement field and affine',
            'Sources': sources,
            **inverse,
        },
        'affine_xfm': {
            'Description': f'The affine part alone of the transform that brings {moving} data onto the grid of the '
            f'{fixed}',
            'Sources': sources,
            **forward,
            'Method': 'ANTs, mutual information: rigid, then affine',
            **_choice(known.linear),
        },
    }
