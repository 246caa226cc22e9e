"""The whole app on real scans and on simulated heads with known truth; wants BIDSREG_TEST_DATA."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from bids import BIDSLayout
from scipy import ndimage as ndi

from bidsreg.pair import cli
from bidsreg.registration import Deformation, Grid, Image, itk
from tests import data

FOLDER = os.environ.get('BIDSREG_TEST_DATA')
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FOLDER, reason='BIDSREG_TEST_DATA names no folder with real scans'),
]


def run_app(*arguments):
    """Run the app in a process of its own; its exit code and what it printed."""
    done = subprocess.run(
        [sys.executable, '-m', 'bidsreg', *map(str, arguments)], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def quality(derivatives):
    return {p.name: json.loads(p.read_text()) for p in sorted(Path(derivatives).rglob('*_desc-registration_qc.json'))}


def transforms(folder, name):
    """The deformation and the affine of a pair in a folder of derivatives."""
    stem = f'{folder}/{name}_from-'
    forward, inverse = f'{stem}T2w_to-T1w_mode-image_xfm.h5', f'{stem}T1w_to-T2w_mode-image_xfm.h5'
    return Deformation.load(forward, inverse), itk.read_affine(f'{stem}T2w_to-T1w_mode-image_desc-affine_xfm.tfm')


@pytest.fixture(scope='module')
def ms(tmp_path_factory):
    """Derivatives of the three real sessions."""
    root = tmp_path_factory.mktemp('real scans')
    code, said = run_app(
        Path(FOLDER) / 'ms-bids', root / 'out', 'participant', '-w', root / 'work', '--skip-bids-validation'
    )
    assert code == 0, said
    return root


def test_every_real_pair_is_done_without_folds_and_with_evidence_of_both_kinds(ms):
    found = quality(ms / 'out')
    assert len(found) == 3
    for name, facts in found.items():
        result = facts['result']
        assert result['jacobian']['folds'] == 0, name
        assert result['inverse_consistency_mm']['mean'] < 0.05, name
        assert result['inverse_consistency_mm']['p99'] < 0.5, name
        before, affine, diffeo = (result['evidence'][state] for state in ('before', 'affine', 'diffeo'))
        assert affine['mi'] > 0.98 * before['mi'], name
        assert affine['mind_heldout'] < 1.02 * before['mind_heldout'], name
        if result['decision']['kept'] == 'affine':
            assert result['displacement_mm']['max'] == 0
            continue
        gains = (
            1 - diffeo['mind_heldout'] / affine['mind_heldout'],
            diffeo['mi'] / affine['mi'] - 1,
            diffeo['edge_correlation'] / affine['edge_correlation'] - 1,
        )
        assert sum(gains) > -0.002, name
        assert sum(gain > 0 for gain in gains) >= 2, name
        assert result['displacement_mm']['p95'] < 4, name


def test_other_peoples_tools_read_the_real_derivatives(ms):
    layout = BIDSLayout(ms / 'out', validate=False, is_derivative=True, config=['bids', 'derivatives'])
    pair = {'subject': '01', 'session': '2'}
    for wanted in (
        {'suffix': 'T2w', 'space': 'T1w', 'desc': 'preproc', 'extension': '.nii.gz'},
        {'suffix': 'T1w', 'space': 'T2w', 'desc': 'preproc', 'extension': '.nii.gz'},
        {'suffix': 'xfm', 'from': 'T2w', 'to': 'T1w', 'mode': 'image', 'extension': '.h5'},
        {'suffix': 'mask', 'desc': 'brain', 'space': 'T2w', 'extension': '.nii.gz'},
    ):
        assert len(layout.get(**pair, **wanted)) == 1, wanted
    done = subprocess.run(
        [str(Path(sys.executable).with_name('bids-validator-deno')), str(ms / 'out')],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_running_again_recomputes_nothing(ms):
    before = {p: p.stat().st_mtime_ns for p in (ms / 'out').rglob('*.h5')}
    code, said = run_app(
        Path(FOLDER) / 'ms-bids', ms / 'out', 'participant', '-w', ms / 'work', '--skip-bids-validation'
    )
    assert code == 0
    assert 'already done' in said
    assert before == {p: p.stat().st_mtime_ns for p in (ms / 'out').rglob('*.h5')}


def test_a_known_warp_put_on_a_real_t2w_is_recovered(ms, tmp_path):
    raw = Path(FOLDER) / 'ms-bids/sub-01/ses-2/anat'
    scan = nib.load(raw / 'sub-01_ses-2_T2w.nii.gz')
    known = data.truth(11, turn=(0, 0, 0), shift=(0, 0, 0), amplitude=7.0)
    # the warped scan at w shows what lay at w + u(w); so y in the scan is found at known.inverse(y)
    points = data.world(scan.shape, scan.affine)
    at = np.moveaxis(nib.affines.apply_affine(np.linalg.inv(scan.affine), known.forward(points)), -1, 0)
    warped = ndi.map_coordinates(np.asarray(scan.dataobj, np.float32), at, order=1, mode='nearest')
    anat = tmp_path / 'bids/sub-01/anat'
    anat.mkdir(parents=True)
    (tmp_path / 'bids/dataset_description.json').write_text(json.dumps({'Name': 'warped', 'BIDSVersion': '1.10.0'}))
    nib.save(data.image(warped.astype(np.float32), scan.affine), anat / 'sub-01_T2w.nii.gz')
    (anat / 'sub-01_T1w.nii.gz').write_bytes((raw / 'sub-01_ses-2_T1w.nii.gz').read_bytes())
    code, said = run_app(
        tmp_path / 'bids', tmp_path / 'out', 'participant', '-w', tmp_path / 'work', '--skip-bids-validation'
    )
    assert code == 0, said

    reference, _ = transforms(ms / 'out/sub-01/ses-2/anat', 'sub-01_ses-2')
    found, affine = transforms(tmp_path / 'out/sub-01/anat', 'sub-01')
    mask = nib.load(tmp_path / 'out/sub-01/anat/sub-01_desc-brain_mask.nii.gz')
    brain = nib.affines.apply_affine(mask.affine, np.argwhere(np.asarray(mask.dataobj))[::97])
    truth = known.inverse(reference.points(brain))
    before = np.linalg.norm(nib.affines.apply_affine(affine, brain) - truth, axis=1)
    after = np.linalg.norm(found.points(brain) - truth, axis=1)
    print(f'known warp on a real T2w: {before.mean():.2f} mm after the affine, {after.mean():.2f} mm after all')
    assert before.mean() > 0.8
    assert after.mean() < 0.6 * before.mean()


@pytest.fixture(scope='module')
def heads(tmp_path_factory):
    """Two simulated heads with truth points, registered by the whole app."""
    tool = Path(FOLDER).parent / 'tools/simulate.py'
    if not tool.exists():
        pytest.skip('no simulator beside the real scans')
    root = tmp_path_factory.mktemp('heads')
    maps = Path(FOLDER) / 'anatomies'
    subprocess.run([sys.executable, str(tool), str(maps), str(root / 'bids'), '--subjects', '03', '05'], check=True)
    code, said = run_app(root / 'bids', root / 'out', 'participant', '-w', root / 'work', '--skip-bids-validation')
    assert code == 0, said
    return root


@pytest.mark.parametrize('subject', ['03', '05'])
def test_the_app_is_nearer_the_truth_than_the_affine(heads, subject):
    name = f'sub-{subject}'
    deformation, affine = transforms(heads / 'out' / name / 'anat', name)
    truth = heads / f'bids/derivatives/truth/{name}/anat/{name}_from-T1w_to-T2w_points.tsv'
    points = np.loadtxt(truth, skiprows=1)
    before = np.linalg.norm(nib.affines.apply_affine(affine, points[:, :3]) - points[:, 3:], axis=1)
    after = np.linalg.norm(deformation.points(points[:, :3]) - points[:, 3:], axis=1)
    print(f'{name}: {before.mean():.3f} mm after the affine, {after.mean():.3f} mm after all')
    assert after.mean() < 0.5 * before.mean()
    assert np.percentile(after, 95) < np.percentile(before, 95)


def test_a_pair_that_is_aligned_already_stays_put(tmp_path):
    """T1w and T2w contrast of one real anatomy on one grid, each with its own noise, texture and bias field."""
    tool = Path(FOLDER).parent / 'tools/simulate.py'
    if not tool.exists():
        pytest.skip('no simulator beside the real scans')
    spec = importlib.util.spec_from_file_location('simulate', tool)
    simulate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(simulate)
    image = nib.as_closest_canonical(nib.load(Path(FOLDER) / 'anatomies/anat-04_dseg.nii.gz'))
    labels = np.asanyarray(image.dataobj).astype(np.int16)
    rng = np.random.default_rng(4)
    grid = Grid(labels.shape, image.affine)
    scans = {}
    for name, sequence in (('T1w', simulate.mprage), ('T2w', simulate.tse)):
        voxels = simulate.acquire(simulate.signal(labels, sequence, rng), rng)
        Image(voxels, grid).save(tmp_path / f'{name}.nii.gz')
        scans[name] = str(tmp_path / f'{name}.nii.gz')
    inside = ndi.binary_fill_holes(ndi.binary_closing(np.isin(labels, simulate.BRAIN), iterations=3))
    Image(inside.astype(np.uint8), grid).save(tmp_path / 'mask.nii.gz')
    words = [scans['T1w'], scans['T2w'], '--fixed-mask', str(tmp_path / 'mask.nii.gz'), '--out', str(tmp_path / 'out')]
    assert cli.main(words) == 0
    result = json.loads((tmp_path / 'out/result.json').read_text())
    moved = result['displacement_mm']
    print(f'aligned already: moved {moved["mean"]:.3f} mm in the mean, {moved["max"]:.3f} mm at most')
    assert moved['mean'] < 0.1  # a tenth of a voxel
