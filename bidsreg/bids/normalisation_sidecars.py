"""The descriptions beside what a normalisation leaves, in the words of BIDS."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bidsreg.bids.names import pair_outputs
from bidsreg.bids.normalisations import Normalisation, normalisation_outputs, on_grid, ratios_of
from bidsreg.bids.sidecars import bids_uri, software_versions

if typing.TYPE_CHECKING:
    from bidsreg.settings import Settings

_CONVENTION = 'ITK, LPS+ mm: apply to what lies in From with what lies in To as reference (antsApplyTransforms -t)'


def normalisation_sidecars(
    unit: Normalisation, settings: Settings, facts: Mapping[str, Any], voxels: Mapping[str, Sequence[float]]
) -> dict[str, dict[str, Any]]:
    """Describe everything a normalisation leaves, except its QC file.

    Parameters
    ----------
    unit, settings
        The normalisation, and the settings it was made with.
    facts
        Its facts: ``result``, ``mask_method`` and ``skull_stripped`` are taken from them, where there.
    voxels
        Voxel size (mm) of each image in the space, by its key.
    """
    known = _Known.of(unit, settings, facts)
    texts = dict([*_transforms(known), *_images(known, voxels), *_carried(known, voxels), *_own(known, facts)])
    versions = ', '.join(f'{package} {number}' for package, number in software_versions().items())
    common = {'Fingerprint': settings.fingerprint(), 'SoftwareVersions': versions}
    return {key: {**text, **common} for key, text in texts.items()}


@dataclass(frozen=True)
class _Known:
    """What the sidecars share.

    Attributes
    ----------
    unit, settings
        The normalisation, and the settings.
    ours
        BIDS URI of each product.
    template, scan, preproc
        BIDS URIs of the template, of the raw reference scan, and of that scan as it was used.
    lesions
        BIDS URIs of the user's lesions of the scan.
    how
        Method, settings and seed of the deformation.
    """

    unit: Normalisation
    settings: Settings
    ours: Mapping[str, str]
    template: str
    scan: str
    preproc: str
    lesions: tuple[str, ...]
    how: Mapping[str, Any]

    @classmethod
    def of(cls, unit: Normalisation, settings: Settings, facts: Mapping[str, Any]) -> _Known:
        ours = {key: bids_uri(path, settings) for key, path in normalisation_outputs(unit, settings.output_dir).items()}
        result = facts.get('result') or {}
        preproc = ours.get('preproc') or bids_uri(
            pair_outputs(unit.pairs[0], settings.output_dir)['fixed_preproc'], settings
        )
        how = {'Method': result.get('method'), 'Settings': result.get('settings'), 'RandomSeed': settings.random_seed}
        return cls(
            unit,
            settings,
            ours,
            bids_uri(unit.template[0], settings),
            bids_uri(unit.reference.scan.path, settings),
            preproc,
            tuple(bids_uri(lesion.path, settings) for lesion in unit.reference.lesions),
            {key: value for key, value in how.items() if value is not None},
        )

    @property
    def space(self) -> str:
        return f'the template {self.unit.space.label}'


def _transforms(known: _Known) -> Iterator[tuple[str, dict[str, Any]]]:
    """Describe the transforms of the reference scan, and those of the scans that were brought along."""
    contrast, template, preproc = known.unit.contrast, known.template, known.preproc
    common = {'Sources': [template, preproc, *known.lesions], 'Convention': _CONVENTION, **known.how}
    yield (
        'forward',
        {
            'Description': f'Brings {contrast} data onto {known.space}: affine and displacement field',
            'From': preproc,
            'To': template,
            **common,
        },
    )
    yield (
        'inverse',
        {
            'Description': f'Brings data of {known.space} onto the {contrast}: inverse displacement field and affine',
            'From': template,
            'To': preproc,
            **common,
        },
    )
    yield (
        'jacobian',
        {
            'Description': f'Jacobian determinant of the deformation from {known.space} to the {contrast}, without the '
            'affine: above 1 where the brain of the person is larger than that of the template. Times the determinant '
            'of the affine (affine.determinant of the QC file) it is the ratio of the volumes themselves',
            'Sources': [known.ours['forward']],
            'SpatialReference': template,
            **known.how,
        },
    )
    for number, pair in enumerate(known.unit.pairs):
        moving, raw = pair.moving_contrast, bids_uri(pair.moving, known.settings)
        theirs = bids_uri(pair_outputs(pair, known.settings.output_dir)['forward_xfm'], known.settings)
        both = (
            f'the registration of the {moving} to the {contrast}, and that of the {contrast} to {known.space}, as one'
        )
        for key, start, end in (('forward', raw, template), ('inverse', template, raw)):
            words = f'{moving} data onto {known.space}' if key == 'forward' else f'its data onto the {moving}'
            yield (
                f'pair{number}_{key}',
                {
                    'Description': f'Brings {words}: {both}',
                    'Sources': [theirs, known.ours[key]],
                    'From': start,
                    'To': end,
                    'Convention': _CONVENTION,
                },
            )


def _placed(known: _Known, grid: int | None, voxels: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Say on which grid of the space an image lies."""
    placed: dict[str, Any] = {'SpatialReference': known.template, 'Template': known.unit.origin}
    size = voxels.get(on_grid('image', grid))
    if grid is not None and size is not None:
        placed['Resolution'] = ' x '.join(f'{side:g}' for side in size) + ' mm'
    return placed


def _images(known: _Known, voxels: Mapping[str, Sequence[float]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Describe the images in the space."""
    unit = known.unit
    for grid in unit.space.grids:
        placed = _placed(known, grid, voxels)
        scans = [('image', unit.contrast, known.preproc, 'forward')]
        scans += [
            (
                f'pair{number}_image',
                pair.moving_contrast,
                bids_uri(pair.moving, known.settings),
                f'pair{number}_forward',
            )
            for number, pair in enumerate(unit.pairs)
        ]
        for key, contrast, source, transform in scans:
            yield (
                on_grid(key, grid),
                {
                    'Description': f'The {contrast} in the space of {known.space}; interpolated once, from its grid',
                    'Sources': [source, known.ours[transform]],
                    'SkullStripped': False,
                    **placed,
                },
            )
        yield (
            on_grid('mask', grid),
            {
                'Description': f'Brain mask of the person in the space of {known.space}',
                'Type': 'Brain',
                'Sources': [known.ours['forward']],
                **placed,
            },
        )


def _carried(known: _Known, voxels: Mapping[str, Sequence[float]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Describe what is brought into the space beside the scans: ratios, and lesions."""
    unit, settings = known.unit, known.settings
    ratios = ratios_of(unit, settings.output_dir)
    for key, one in unit.carried.items():
        transform = known.ours['forward' if one.on_reference else f'pair{one.pair}_forward']
        if one.kind == 'map':
            text: dict[str, Any] = {
                'Description': f'The ratio of T1w and T2w, {unit.ratio}, in the space of {known.space}; interpolated '
                'once, from the grid of the T1w, between voxels that have one; 0 elsewhere',
                'Sources': [bids_uri(ratios[key], settings), transform],
                'SkullStripped': True,
                'Units': 'arbitrary',
            }
        else:
            lesions = unit.reference.lesions if one.pair is None else unit.pairs[one.pair].moving_lesions
            text = {
                'Description': f'Lesions of the {one.contrast} in the space of {known.space}: 1 where the voxel of the '
                'scan that is nearest lies in one',
                'Type': 'Lesion',
                'Sources': [*(bids_uri(lesion.path, settings) for lesion in lesions), transform],
            }
        for grid in unit.space.grids:
            yield on_grid(key, grid), {**text, **_placed(known, grid, voxels)}


def _own(known: _Known, facts: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Describe the reference scan and its mask, where no pair has left them."""
    if known.unit.pairs:
        return
    contrast, reference = known.unit.contrast, known.unit.reference
    corrected = 'corrected for the bias field (N4)' if known.settings.bias_correction == 'n4' else 'bias not corrected'
    if known.lesions and known.settings.bias_correction == 'n4':
        corrected += ', which was not estimated from its lesions'
    yield (
        'preproc',
        {
            'Description': f'The {contrast} as it was used: header made sane, {corrected}; no voxel was interpolated',
            'Sources': [known.scan, *known.lesions],
            'SpatialReference': known.scan,
            'SkullStripped': bool(facts.get('skull_stripped', False)),
        },
    )
    yield (
        'brain',
        {
            'Description': f'Brain mask of the {contrast}',
            'Type': 'Brain',
            'Sources': [bids_uri(reference.mask, known.settings) if reference.mask else known.scan],
            'SpatialReference': known.scan,
            'Method': facts.get('mask_method') or reference.mask_reason,
        },
    )
