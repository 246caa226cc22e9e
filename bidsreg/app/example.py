"""A head to try the app on, made on the spot, with a known answer.

``python -m bidsreg.app.example OUT`` writes a small BIDS dataset: a T1w and a T2w of one head. Nothing is downloaded:
the brain is the MNI152 template with its tissue maps that nilearn ships, and skull, scalp, eyes and neck are put around
it. The T2w is made by the spin-echo signal equation, in another head position, on tilted, anisotropic voxels, with its
own bias field and noise, and smoothly distorted by up to 4 mm. ``OUT/derivatives/truth`` keeps brain points whose place
in both scans is known.

``python -m bidsreg.app.example --check OUT DERIVATIVES`` applies the transforms of a finished run to these points with
ANTsPy, says how many millimetres they miss before, after the affine and after the deformable registration, and exits
with 1 when the last is worse than the affine.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from scipy import ndimage as ndi

from bidsreg import __version__
from bidsreg.bids.dataset import BIDS_VERSION
from bidsreg.validation import as_path

SUBJECT = '01'
#: (T1 ms, T2 ms, proton density) at 3 T, and for each the name of the layer it is.
TISSUES = {
    'wm': (850.0, 70.0, 0.70),
    'gm': (1400.0, 95.0, 0.82),
    'csf': (4000.0, 1200.0, 1.0),
    'bone': (400.0, 8.0, 0.10),
    'marrow': (500.0, 55.0, 0.45),
    'fat': (380.0, 65.0, 0.5),
    'muscle': (1300.0, 38.0, 0.75),
    'eye': (3800.0, 800.0, 0.95),
}
#: The template is bent over about 30 mm by 3 mm (standard deviation along each axis); its voxels have 1 mm.
BEND_MM = (30.0, 3.0)
PADDING = (22, 26, 20)  # mm of room around the template for the head, left/right, front/back, above and below


# ---------------------------------------------------------------------------------------------------- signal equations
def mprage(t1: float, t2: float, pd: float, ti: float = 900.0, tr: float = 2300.0, te: float = 3.0) -> float:
    """Compute the magnitude of the inversion-recovery gradient echo of a T1w (times in ms; T2* taken as 0.6 T2)."""
    return abs(pd * (1 - 2 * np.exp(-ti / t1) / (1 + np.exp(-tr / t1)))) * np.exp(-te / (0.6 * t2))


def turbo_spin_echo(t1: float, t2: float, pd: float, te: float = 95.0, tr: float = 4500.0) -> float:
    """Compute the magnitude of the turbo spin echo of a T2w (times in ms)."""
    return pd * (1 - np.exp(-tr / t1)) * np.exp(-te / t2)


# ---------------------------------------------------------------------------------------------------- the head
@dataclass(frozen=True)
class Head:
    """Tissue fractions (float32, 0 to 1) and brain mask of the head on a 1 mm RAS grid, and nilearn's T1w of the brain.

    ``template`` is 1 in white matter.
    """

    tissues: dict[str, np.ndarray]
    template: np.ndarray
    brain: np.ndarray
    affine: np.ndarray


def _template(name: str) -> Any:
    """Load an image of the template that nilearn ships."""
    from nilearn import datasets

    path = Path(datasets.__file__).parent / 'data' / f'mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz'
    if not path.is_file():
        raise FileNotFoundError(f'{path.name} is not among the data of the installed nilearn')
    return nib.load(path)


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], spacing: float, std: float) -> np.ndarray:
    """Make a random field (float32) of standard deviation `std` that varies over about `spacing` voxels."""
    coarse = rng.normal(size=[int(n / spacing) + 4 for n in shape]).astype(np.float32)
    steps = [np.linspace(1, c - 2, n, dtype=np.float32) for c, n in zip(coarse.shape, shape, strict=True)]
    field = coarse
    for axis, at in enumerate(steps):  # separable linear interpolation: cheap on large grids
        low = np.minimum(at.astype(int), field.shape[axis] - 2)
        weight = (at - low).reshape([-1 if k == axis else 1 for k in range(len(shape))])
        field = field.take(low, axis) * (1 - weight) + field.take(low + 1, axis) * weight
    return std * field / field.std()


def _lopsided(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Return where to look the template up (voxels, (3, X, Y, Z)): no person's halves are mirror images, as its are."""
    rng = np.random.default_rng([seed, 3])
    at = np.indices(shape, dtype=np.float32)
    for axis in range(3):
        at[axis] += smooth_noise(rng, shape, BEND_MM[0], BEND_MM[1])
    return at


def make_head(seed: int = 0) -> Head:
    """Put skull, scalp, eyes and a neck around nilearn's MNI152 brain, whose halves are made to differ before."""
    rng = np.random.default_rng(seed)
    t1 = _template('t1')
    # The template ends below the brain stem: repeating its last slice there continues the cord.
    pad = [(PADDING[0],) * 2, (PADDING[1],) * 2, (PADDING[2],) * 2]

    bent = _lopsided(t1.shape, seed)

    def padded(image: Any) -> np.ndarray:
        values = ndi.map_coordinates(np.asarray(image.dataobj, np.float32), bent, order=1, mode='nearest')
        return np.pad(values, pad, mode='edge') / 255

    template, gm, wm = padded(t1), padded(_template('gm')), padded(_template('wm'))
    affine = t1.affine.copy()
    affine[:3, 3] -= affine[:3, :3] @ PADDING
    brain = template > 0
    inside = ndi.gaussian_filter(brain.astype(np.float32), 0.8)
    total = np.maximum(gm + wm, 1e-3)
    matter = np.minimum(total, 1) * brain
    gm, wm = gm / total * matter, wm / total * matter

    # Distance (mm) from the brain's hull, on every second voxel; the hull closes the sulci and the cisterns.
    coarse = brain[::2, ::2, ::2]
    grown = ndi.distance_transform_edt(~coarse, sampling=2) <= 14
    hull = ndi.distance_transform_edt(grown, sampling=2) > 14
    hull |= coarse
    depth = ndi.distance_transform_edt(~hull, sampling=2) - ndi.distance_transform_edt(hull, sampling=2)
    depth = ndi.zoom(ndi.gaussian_filter(depth.astype(np.float32), 0.7), 2, order=1, grid_mode=True, mode='nearest')
    depth = depth[tuple(slice(n) for n in brain.shape)]
    depth += smooth_noise(rng, brain.shape, 25, 0.6)

    x, y, z = (
        (affine[k, 3] + np.arange(n, dtype=np.float32)).reshape([-1 if k == j else 1 for j in range(3)])
        for k, n in enumerate(brain.shape)
    )

    def ball(centre: Sequence[float], radii: Sequence[float]) -> np.ndarray:
        """Return a number like a signed distance: positive inside the ellipsoid, mm."""
        scaled = sum(((p - c) / r) ** 2 for p, c, r in zip((x, y, z), centre, radii, strict=True))
        return min(radii) * (1 - np.sqrt(scaled))

    def step(distance: np.ndarray) -> np.ndarray:
        return np.clip(distance + 0.5, 0, 1).astype(np.float32)

    face = np.maximum(ball((0, 52, -60), (58, 44, 62)), ball((0, -22, -100), (56, 58, 60)))
    sinus = ball((0, 66, -52), (17, 20, 22))
    eyes = np.maximum(ball((-31, 70, -38), (12, 12, 12)), ball((31, 70, -38), (12, 12, 12)))
    wavy = smooth_noise(rng, brain.shape, 7, 1.0)
    scalp = 15.5 + smooth_noise(rng, brain.shape, 40, 0.8)
    whole = np.maximum(step(scalp - depth), step(face))
    skull, diploe, dura = step(10 - depth), step(8.3 - depth) - step(4.8 - depth), step(3.0 - depth)

    tissues = {name: np.zeros(brain.shape, np.float32) for name in TISSUES}
    soft = whole - skull * whole
    lean = step(wavy + (depth - 22) / 6)  # fat under the skin, muscle deeper in face and neck
    tissues['muscle'], tissues['fat'] = soft * lean, soft * (1 - lean)
    hollow = step(sinus) * (1 - skull)
    eye = step(eyes) * (1 - skull)
    for name in ('muscle', 'fat'):
        tissues[name] *= (1 - hollow) * (1 - eye)
    tissues['eye'] = eye
    outer = skull - dura
    tissues['marrow'] = np.minimum(outer, diploe * step(wavy + 1.0))
    tissues['bone'] = outer - tissues['marrow']
    tissues['gm'], tissues['wm'] = gm, wm
    tissues['csf'] = np.maximum(dura, inside) - gm - wm
    return Head(tissues, template / np.percentile(template[wm > 0.95], 50), brain, affine)


def signal(head: Head, contrast: str, seed: int = 0) -> np.ndarray:
    """Return the noise-free image of the head on its own grid, white matter near 1.

    Parameters
    ----------
    head : Head
    contrast : {'T1w', 'T2w'}
        The T1w keeps nilearn's template inside the brain.
    seed : int
        Of the texture; the two contrasts have different ones, so that they share nothing but anatomy.
    """
    equations: dict[str, Callable[..., float]] = {'T1w': mprage, 'T2w': turbo_spin_echo}
    equation = equations[contrast]
    reference = equation(*TISSUES['wm'])
    image = np.zeros(head.brain.shape, np.float32)
    for name, fraction in head.tissues.items():
        image += np.float32(equation(*TISSUES[name]) / reference) * np.maximum(fraction, 0)
    if contrast == 'T1w':
        image = np.where(head.brain, head.template, image)
    rng = np.random.default_rng([seed, contrast == 'T2w'])
    return image * (1 + smooth_noise(rng, image.shape, 5, 0.02) + smooth_noise(rng, image.shape, 20, 0.02))


# ---------------------------------------------------------------------------------------------------- the other scan
def rotation(x: float, y: float, z: float) -> np.ndarray:
    """Return the 3x3 rotation by degrees about x, then y, then z."""
    a, b, c = np.deg2rad([x, y, z])
    rx = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    ry = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    rz = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return rz @ ry @ rx


CENTRE = np.array([0.0, -18.0, 10.0])
POSITION = rotation(4.0, -3.0, 5.0)
SHIFT = np.array([4.0, -5.0, 3.0])
#: Waves of the distortion: rad/mm (three columns), phase, and mm along x, y, z. Most of it is along y, as in an echo
#: train read out there; the amplitudes along y add up to 4 mm.
WAVES = np.array(
    [
        [0.020, 0.042, 0.012, 0.3, 0.2, 1.7, 0.1],
        [-0.045, 0.018, 0.022, 1.9, -0.1, 1.3, 0.2],
        [0.014, -0.026, 0.055, 4.0, 0.2, 1.0, -0.3],
    ]
)


def distortion(points: np.ndarray) -> np.ndarray:
    """Return the displacement (mm) of the smooth distortion at world points of the T2w."""
    return np.sin(points @ WAVES[:, :3].T + WAVES[:, 3]) @ WAVES[:, 4:]


def to_t1w(points: np.ndarray) -> np.ndarray:
    """Map world points (mm, RAS+) of the T2w to the same anatomy's world points in the T1w: the truth."""
    return (points - CENTRE) @ POSITION.T + CENTRE + SHIFT + distortion(points)


def _grid(
    voxel: Sequence[float],
    size: Sequence[float],
    turn: tuple[float, float, float] = (0.0, 0.0, 0.0),
    axes: tuple[int, int, int] = (1, 1, 1),
) -> tuple[tuple[int, ...], np.ndarray]:
    """Return shape and affine of a grid of `size` mm around :data:`CENTRE`; `axes` are the signs of the voxel axes."""
    shape = tuple(int(np.ceil(s / v)) for s, v in zip(size, voxel, strict=True))
    affine = np.eye(4)
    affine[:3, :3] = rotation(*turn) @ np.diag(np.asarray(voxel) * axes)
    affine[:3, 3] = CENTRE - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return shape, affine


def _scan(
    head: Head,
    contrast: str,
    shape: tuple[int, ...],
    affine: np.ndarray,
    where: Callable[[np.ndarray], np.ndarray],
    seed: int,
) -> nib.Nifti1Image:
    """Scan the head: voxels integrate over their extent, then come bias field and Rician noise."""
    zooms = nib.affines.voxel_sizes(affine)
    image = signal(head, contrast, seed)
    axes = np.abs(affine[:3, :3] / zooms).argmax(axis=0)
    widths = [0.0, 0.0, 0.0]
    for axis, zoom in zip(axes, zooms, strict=True):
        widths[axis] = 0.35 * zoom
    image = ndi.gaussian_filter(image, widths, mode='nearest')
    index = np.stack(np.meshgrid(*[np.arange(n, dtype=np.float32) for n in shape], indexing='ij'), -1)
    points = where(nib.affines.apply_affine(affine, index))
    at = np.moveaxis(nib.affines.apply_affine(np.linalg.inv(head.affine), points), -1, 0)
    image = ndi.map_coordinates(image, at.astype(np.float32), order=1)
    rng = np.random.default_rng([seed, 7, contrast == 'T2w'])
    image *= np.exp(smooth_noise(rng, image.shape, min(shape) * 0.9, 0.15))
    image = np.hypot(image + rng.normal(0, 0.02, shape), rng.normal(0, 0.02, shape))
    scan = nib.Nifti1Image(np.clip(image * 400, 0, 32000).astype(np.int16), affine)
    scan.header.set_xyzt_units('mm', 'sec')
    scan.set_sform(affine, 1)
    scan.set_qform(affine, 1)
    return scan


def make_dataset(
    out: Path, voxel: float = 2.0, t2w_voxel: tuple[float, float, float] = (1.5, 1.5, 3.0), seed: int = 0
) -> Path:
    """Write the example dataset.

    Parameters
    ----------
    out : Path
        Folder to make; files in it with the same names are overwritten.
    voxel : float
        Voxel size of the T1w, mm.
    t2w_voxel : tuple of 3 float
        Voxel size of the T2w, mm.
    seed : int
        Of noise, texture and bias fields. The anatomy and the distortion are always the same.

    Returns
    -------
    Path
        `out`.
    """
    out = Path(out)
    stem = f'sub-{SUBJECT}'
    anat, truth = out / stem / 'anat', out / 'derivatives' / 'truth' / stem / 'anat'
    for folder in (anat, truth):
        folder.mkdir(parents=True, exist_ok=True)
    head = make_head(seed)
    size = (208.0, 246.0, 226.0)
    shape, affine = _grid((voxel,) * 3, size)
    shape2, affine2 = _grid(t2w_voxel, (210.0, 246.0, 216.0), turn=(-9.0, 0.0, 2.0), axes=(-1, 1, 1))
    nib.save(_scan(head, 'T1w', shape, affine, lambda points: points, seed), anat / f'{stem}_T1w.nii.gz')
    nib.save(_scan(head, 'T2w', shape2, affine2, to_t1w, seed), anat / f'{stem}_T2w.nii.gz')
    _write_json(
        anat / f'{stem}_T1w.json',
        {'Modality': 'MR', 'MagneticFieldStrength': 3, 'RepetitionTime': 2.3, 'InversionTime': 0.9, 'EchoTime': 0.003},
    )
    _write_json(
        anat / f'{stem}_T2w.json',
        {'Modality': 'MR', 'MagneticFieldStrength': 3, 'RepetitionTime': 4.5, 'EchoTime': 0.095},
    )
    _write_points(head, shape2, affine2, truth / f'{stem}_from-T1w_to-T2w_points.tsv')
    generated = [{'Name': 'bidsreg.app.example', 'Version': __version__}]
    _write_json(
        out / 'dataset_description.json',
        {'Name': 'One simulated head', 'BIDSVersion': BIDS_VERSION, 'DatasetType': 'raw', 'GeneratedBy': generated},
    )
    _write_json(
        truth.parents[1] / 'dataset_description.json',
        {'Name': 'Truth', 'BIDSVersion': BIDS_VERSION, 'DatasetType': 'derivative', 'GeneratedBy': generated},
    )
    (out / '.bidsignore').write_text('*_points.tsv\n')
    (out / 'README').write_text(
        'One simulated head (T1w and T2w) made by `python -m bidsreg.app.example` from the MNI152 template and tissue\n'
        'maps that nilearn ships. derivatives/truth holds brain points with their place in both scans (mm, RAS+).\n'
    )
    return out


def _write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=2) + '\n')


def _write_points(head: Head, shape: tuple[int, ...], affine: np.ndarray, path: Path, number: int = 2000) -> None:
    """Write brain points, one a row: their world mm in the T1w and in the T2w."""
    rng = np.random.default_rng(11)
    voxels = rng.uniform(0, np.array(shape) - 1, (number * 40, 3))
    in_t2w = nib.affines.apply_affine(affine, voxels)
    in_t1w = to_t1w(in_t2w)
    at = nib.affines.apply_affine(np.linalg.inv(head.affine), in_t1w).T
    core = ndi.binary_erosion(head.brain, iterations=3).astype(np.float32)
    core[:, :, : PADDING[2] + 4] = 0  # the continued cord is no brain
    inside = np.flatnonzero(ndi.map_coordinates(core, at, order=1) > 0.9)[:number]
    if len(inside) < number:
        raise RuntimeError(f'only {len(inside)} of {number} points lie in the brain')
    np.savetxt(
        path,
        np.hstack([in_t1w, in_t2w])[inside],
        fmt='%.4f',
        delimiter='\t',
        comments='',
        header='x_T1w\ty_T1w\tz_T1w\tx_T2w\ty_T2w\tz_T2w',
    )


# ---------------------------------------------------------------------------------------------------- the check
def map_points(transform: Path, points: np.ndarray) -> np.ndarray:
    """Map world points (mm, RAS+) through an ITK transform file, by ANTsPy (an independent reader)."""
    import ants
    import pandas as pd

    flip = np.array([-1.0, -1.0, 1.0])  # ITK counts LPS+
    table = pd.DataFrame(points * flip, columns=['x', 'y', 'z'])
    mapped = ants.apply_transforms_to_points(3, table, [str(transform)])
    return mapped[['x', 'y', 'z']].to_numpy() * flip


def check(dataset: Path, derivatives: Path) -> dict[str, np.ndarray]:
    """Compute the error (mm) of every truth point before, after the affine, and after the whole registration.

    The file that brings T2w data onto the T1w grid maps points of the T1w to their place in the T2w.
    """
    stem = f'sub-{SUBJECT}'
    truth = dataset / 'derivatives' / 'truth' / stem / 'anat' / f'{stem}_from-T1w_to-T2w_points.tsv'
    points = np.loadtxt(truth, skiprows=1)
    start, goal = points[:, :3], points[:, 3:]
    anat = derivatives / stem / 'anat'
    mapped = {
        'before': start,
        'affine': map_points(anat / f'{stem}_from-T2w_to-T1w_mode-image_desc-affine_xfm.tfm', start),
        'after': map_points(anat / f'{stem}_from-T2w_to-T1w_mode-image_xfm.h5', start),
    }
    return {name: np.linalg.norm(found - goal, axis=1) for name, found in mapped.items()}


def _print_check(dataset: Path, derivatives: Path) -> int:
    try:
        errors = check(dataset, derivatives)
    except FileNotFoundError as missing:
        print(f'bidsreg.app.example: {missing}', file=sys.stderr)
        return 1
    print(f'Error at {len(errors["before"])} brain points whose true place is known (mm):')
    print(f'  {"":14}{"mean":>8}{"95 %":>8}{"largest":>9}')
    for name, label in (('before', 'before'), ('affine', 'after affine'), ('after', 'after all')):
        error = errors[name]
        print(f'  {label:14}{error.mean():8.2f}{np.percentile(error, 95):8.2f}{error.max():9.2f}')
    report = derivatives / f'sub-{SUBJECT}.html'
    print(f'Report: {report.resolve()}' if report.is_file() else f'No report at {report.resolve()}')
    if errors['after'].mean() > errors['affine'].mean() + 1e-3:
        print('The deformable registration is worse than the affine.')
        return 1
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Build the command line of the example."""
    parser = argparse.ArgumentParser(
        prog='python -m bidsreg.app.example', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('out', metavar='OUT', type=as_path, help='folder of the example dataset')
    parser.add_argument(
        'derivatives', metavar='DERIVATIVES', type=as_path, nargs='?', help='with --check: output folder'
    )
    parser.add_argument('--check', action='store_true', help='measure a finished run against the truth')
    parser.add_argument('--voxel', type=float, default=2.0, metavar='MM', help='voxel size of the T1w [%(default)s]')
    parser.add_argument('--random-seed', type=int, default=0, metavar='N', help='of noise and texture [%(default)s]')
    return parser


def main(argv: list[str] | None = None) -> int:
    """Make the example, or measure a run on it."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.check != (args.derivatives is not None):
        parser.error('--check takes OUT and DERIVATIVES; without it give OUT only')
    if args.check:
        return _print_check(args.out, args.derivatives)
    if args.voxel <= 0:
        parser.error('--voxel must be above 0')
    make_dataset(args.out, voxel=args.voxel, seed=args.random_seed)
    print(f'Wrote a BIDS dataset with one simulated head to {args.out.resolve()}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
