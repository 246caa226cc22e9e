#!/usr/bin/env python3
"""Calibrate the verdict on normalisations: good ones, and such as are wrong on purpose, to the template of nilearn.

    python experiments/normalisations.py BIDS_DIR MASKS OUT [--subjects 02 04] [--voxel 1] [--judge]

BIDS_DIR holds raw heads, MASKS brain masks of their T1w (sub-XX/anat/sub-XX_desc-brain_mask.nii.gz). Each head is
changed as its kind says, aligned as the app does it, spoilt where the kind says so, registered and measured.
What is there already is not made again. Prints Markdown: the verdict on each case with its reasons, and for each number
its range in good and in wrong cases.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from common import new_parser, row
from scipy import ndimage as ndi

from bidsreg.app.example import smooth_noise
from bidsreg.bids.headers import load_sane
from bidsreg.bids.images import load_image
from bidsreg.bids.spaces import parse_spaces
from bidsreg.errors import InputError
from bidsreg.pair import cli as pair_command
from bidsreg.preparation.affine import rigid_matrix
from bidsreg.preparation.prealign import prealign
from bidsreg.preparation.spaces import bring, bring_mask, cut_out, pulling, scaling, sized
from bidsreg.qc.normalisation import NORMALISATION_CHECKS, NormalisationFiles, gather_normalisation, judge_normalisation
from bidsreg.qc.symmetry import thinned
from bidsreg.qc.verdict import STATUSES
from bidsreg.registration.atomic import atomic_folder
from bidsreg.registration.itk import write_affine
from bidsreg.templates.prepare import Template, make_template

#: What the verdict on a case should be, by whether it is wrong.
WANTED = {True: 'CHECK or FAIL', False: 'PASS', None: 'any'}

Scan = tuple[nib.Nifti1Image, nib.Nifti1Image]


@dataclass(frozen=True)
class Kind:
    """One kind of case.

    Attributes
    ----------
    wrong
        True where the verdict should not be PASS; None where CHECK and PASS are both right.
    change
        Takes a head and its mask, and returns both as the case has them.
    spoil
        A matrix behind the affine that was found.
    """

    wrong: bool | None = False
    change: Callable[[nib.Nifti1Image, nib.Nifti1Image], Scan] = lambda image, mask: (image, mask)
    spoil: np.ndarray | None = None


def _data(image: nib.Nifti1Image) -> np.ndarray:
    return np.asarray(image.dataobj, np.float32)


def _like(data: np.ndarray, image: nib.Nifti1Image) -> nib.Nifti1Image:
    return nib.Nifti1Image(data, image.affine)


def _middle(mask: nib.Nifti1Image, axis: int) -> tuple[int, int]:
    """Return the voxel axis along a world axis, and the middle of the mask along it."""
    along = int(nib.io_orientation(mask.affine)[:, 0].tolist().index(axis))
    return along, int(np.argwhere(_data(mask) > 0)[:, along].mean())


def _without(axis: int, both: bool = True) -> Callable[[nib.Nifti1Image, nib.Nifti1Image], Scan]:
    """Return what sets the half of the mask, and of the image, along a world axis to zero."""

    def change(image: nib.Nifti1Image, mask: nib.Nifti1Image) -> Scan:
        along, middle = _middle(mask, axis)
        where = tuple(slice(0, middle) if number == along else slice(None) for number in range(3))
        data, inside = _data(image).copy(), _data(mask).copy()
        inside[where] = 0
        if both:
            data[where] = 0
        return _like(data, image), _like(inside.astype(np.uint8), mask)

    return change


def _cropped(axis: int, share: float = 0.5) -> Callable[[nib.Nifti1Image, nib.Nifti1Image], Scan]:
    """Return what leaves a share of the brain along a world axis outside of the field of view."""

    def change(image: nib.Nifti1Image, mask: nib.Nifti1Image) -> Scan:
        along = _middle(mask, axis)[0]
        places = np.argwhere(_data(mask) > 0)[:, along]
        start = int(np.quantile(places, share))
        box = tuple(slice(start, None) if number == along else slice(None) for number in range(3))
        return image.slicer[box], mask.slicer[box]

    return change


def _sized(*factors: float) -> Callable[[nib.Nifti1Image, nib.Nifti1Image], Scan]:
    """Return what makes a head larger or smaller along the axes of the world."""
    scale = np.diag([*factors, 1.0])
    return lambda image, mask: (
        nib.Nifti1Image(image.dataobj, scale @ image.affine),
        nib.Nifti1Image(mask.dataobj, scale @ mask.affine),
    )


def _noise(image: nib.Nifti1Image, mask: nib.Nifti1Image) -> Scan:
    """Return a head whose brain is noise as smooth as tissue."""
    rng, inside = np.random.default_rng(1), _data(mask) > 0
    values = _data(image)[inside]
    fog = smooth_noise(rng, image.shape, 4.0, 1.0)
    fog = (fog - fog[inside].mean()) / fog[inside].std() * values.std() + values.mean()
    return _like(np.where(inside, np.clip(fog, 0, None), _data(image)).astype(np.float32), image), mask


def _grown(mm: float) -> Callable[[nib.Nifti1Image, nib.Nifti1Image], Scan]:
    """Return what makes a mask larger, or smaller, by some mm."""

    def change(image: nib.Nifti1Image, mask: nib.Nifti1Image) -> Scan:
        inside, zooms = _data(mask) > 0, nib.affines.voxel_sizes(mask.affine)
        away = ndi.distance_transform_edt(~inside, zooms) - ndi.distance_transform_edt(inside, zooms)
        return image, _like((away <= mm).astype(np.uint8), mask)

    return change


def _moved(**move: Any) -> np.ndarray:
    return rigid_matrix(**move)


#: The kinds of cases by their names.
KINDS: dict[str, Kind] = {
    'plain': Kind(),
    'mask 2 mm too wide': Kind(None, _grown(2)),
    'mask 2 mm too narrow': Kind(None, _grown(-2)),
    'one hemisphere': Kind(True, _without(0)),
    'mask of one hemisphere': Kind(True, _without(0, both=False)),
    'lower half out of view': Kind(True, _cropped(2)),
    'front half out of view': Kind(True, _cropped(1)),
    'lower tenth out of view': Kind(None, _cropped(2, 0.1)),
    'noise for a brain': Kind(True, _noise),
    'an animal': Kind(True, _sized(0.4, 0.6, 0.35)),
    'an infant': Kind(None, _sized(0.8, 0.8, 0.8)),
    'voxels said 1.5 times as high': Kind(True, _sized(1, 1, 1.5)),
    'back to front': Kind(True, spoil=_moved(degrees=(0, 0, 180))),
    'shifted by 20 mm': Kind(True, spoil=_moved(translation=(0, 20, 0))),
    'turned by 30 degrees': Kind(True, spoil=_moved(degrees=(30, 0, 0))),
}


def coarse(image: nib.Nifti1Image, mask: nib.Nifti1Image, voxel: float) -> Scan:
    """Return an image and its mask with wider voxels (mm), for many cases in little time."""
    if voxel <= max(nib.affines.voxel_sizes(image.affine)):
        return image, mask
    thin = thinned(mask, voxel)
    return thinned(image, voxel), _like((_data(thin) >= 0.5).astype(np.uint8), thin)


def coarse_template(folder: Path, voxel: float) -> Template:
    """Return the template of nilearn with wider voxels."""
    made = make_template(parse_spaces(['MNI'])[0], Path(), folder)
    image, mask = coarse(load_sane(made.image), load_sane(made.mask), voxel)
    paths = folder / 'coarse_T1w.nii.gz', folder / 'coarse_mask.nii.gz'
    for path, one in zip(paths, (image, mask), strict=True):
        nib.save(one, path)
    return make_template(parse_spaces([f'coarse:{paths[0]}:{paths[1]}'])[0], Path(), folder)


def make_case(
    kind: Kind, image: nib.Nifti1Image, mask: nib.Nifti1Image, template: Template, folder: Path, voxel: float
) -> None:
    """Normalise one case and keep its facts."""
    image, mask = kind.change(image, mask)
    with atomic_folder(folder) as hidden, chdir(hidden):
        nib.save(image, 'scan.nii.gz')
        nib.save(mask, 'mask.nii.gz')
        cut_out(str(template.image), str(template.mask)).to_filename('template_brain.nii')
        brain = cut_out('scan.nii.gz', 'mask.nii.gz')
        brain.to_filename('scan_brain.nii')
        scaled = scaling(load_image(template.mask), load_image('mask.nii.gz'))
        sized(brain, scaled).to_filename('sized_brain.nii')
        rigid = prealign('template_brain.nii', 'sized_brain.nii', stage='rigid')[0]
        write_affine('rigid.txt', rigid)
        write_affine('start.txt', scaled @ rigid)
        brains = 'template_brain.nii', 'scan_brain.nii'
        found = prealign(
            *brains, stage='affine', initial='start.txt', fixed_mask=str(template.mask), moving_mask='mask.nii.gz'
        )[0]
        if kind.spoil is not None:
            found = found @ _about(kind.spoil, template)
        write_affine('affine.txt', found)
        words = [str(template.image), 'scan.nii.gz', '--fixed-mask', str(template.mask), '--moving-mask', 'mask.nii.gz']
        words += ['--affine', 'affine.txt', '--method', 'node-mind-inter', '--threads', '1', '--device', 'cpu']
        words += ['--working-resolution', f'{max(voxel, 1.0):g}']
        if pair_command.main([*words, '--quiet', '--out', 'out']):
            raise RuntimeError(f'{folder.name}: bidsreg-pair failed')
        way, reference = pulling('out/forward.h5'), load_sane(template.image)
        bring(way, load_sane('scan.nii.gz'), reference).to_filename('warped.nii.gz')
        bring_mask(way, load_sane('mask.nii.gz'), reference).to_filename('warped_mask.nii.gz')
        files = NormalisationFiles(
            template=template.image,
            template_mask=template.mask,
            scan='scan.nii.gz',
            scan_mask='mask.nii.gz',
            affine='affine.txt',
            rigid='rigid.txt',
            warped='warped.nii.gz',
            warped_mask='warped_mask.nii.gz',
            result='out/result.json',
        )
        Path('facts.json').write_text(json.dumps(gather_normalisation(files)))
        for path in Path('out').glob('*.h5'):
            path.unlink()


def _about(matrix: np.ndarray, template: Template) -> np.ndarray:
    """Return a matrix about the middle of the template's brain instead of the origin."""
    mask = load_sane(template.mask)
    shift = np.eye(4)
    shift[:3, 3] = nib.affines.apply_affine(mask.affine, np.argwhere(_data(mask) > 0)).mean(0)
    return shift @ matrix @ np.linalg.inv(shift)


def report(cases: dict[tuple[str, str], dict[str, Any]]) -> None:
    """Print the verdicts, and the range of each number."""
    print(row('kind', 'head', 'should be', 'verdict', 'beyond its threshold'))
    print(row(*['---'] * 5))
    values: dict[str, dict[bool | None, list[float]]] = {name: {} for name in NORMALISATION_CHECKS}
    for (kind, head), facts in cases.items():
        wrong = KINDS[kind].wrong
        if 'refused' in facts:
            print(row(kind, head, WANTED[wrong], 'failed', facts['refused']))
            continue
        verdict = judge_normalisation(facts)
        beyond = [f'{name} {check.value:.3g}' for name, check in verdict.checks.items() if check.status != 'PASS']
        print(row(kind, head, WANTED[wrong], verdict.status, ', '.join(beyond)))
        for name, check in verdict.checks.items():
            values[name].setdefault(wrong, []).append(check.value)
    print('\n' + row('number', 'good', 'neither', 'wrong'))
    print(row(*['---'] * 4))
    for name, ranges in values.items():
        shown = [ranges.get(truth, []) for truth in (False, None, True)]
        print(row(f'`{name}`', *(f'{min(found):.3g} to {max(found):.3g}' if found else '' for found in shown)))
    for truth, words in ((True, 'wrong'), (False, 'good')):
        found = [
            'failed' if 'refused' in facts else judge_normalisation(facts).status
            for (kind, _), facts in cases.items()
            if KINDS[kind].wrong is truth
        ]
        print(f'\n{words}: ' + ', '.join(f'{found.count(status)} {status}' for status in (*STATUSES, 'failed')))


def main(argv: Sequence[str] | None = None) -> None:
    """Make the cases that are missing, and report."""
    parser = new_parser(__doc__)
    parser.add_argument('bids_dir', type=Path)
    parser.add_argument('masks', type=Path)
    parser.add_argument('out', type=Path)
    parser.add_argument('--subjects', nargs='+', default=['02', '04'])
    parser.add_argument('--kinds', nargs='+', choices=KINDS, default=list(KINDS))
    parser.add_argument('--voxel', type=float, default=2.0, help='mm, of heads and template (2)')
    parser.add_argument('--judge', action='store_true', help='make nothing')
    args = parser.parse_args(argv)
    template = coarse_template(args.out.absolute() / 'template', args.voxel)
    cases = {}
    for kind in args.kinds:
        for subject in args.subjects:
            folder = args.out.absolute() / f'{kind.replace(" ", "_")}_{subject}'
            anat = Path(f'sub-{subject}', 'anat')
            if not folder.is_dir() and not args.judge:
                image = load_sane(args.bids_dir / anat / f'sub-{subject}_T1w.nii.gz')
                mask = load_sane(args.masks / anat / f'sub-{subject}_desc-brain_mask.nii.gz')
                try:
                    make_case(KINDS[kind], *coarse(image, mask, args.voxel), template, folder, args.voxel)
                except InputError as error:  # a failed row of the app, with this reason
                    folder.mkdir()
                    (folder / 'facts.json').write_text(json.dumps({'refused': str(error)}))
            if folder.is_dir():
                cases[kind, subject] = json.loads((folder / 'facts.json').read_text())
    report(cases)


if __name__ == '__main__':
    main()
