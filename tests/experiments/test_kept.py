"""Cases of each kind become what the app would make of them, and a row of the table."""

from __future__ import annotations

import kept
import nibabel as nib
import numpy as np
import pytest

from bidsreg.preparation.affine import rigid_matrix
from bidsreg.registration.itk import write_affine
from tests import data

from .test_hard_pairs import label_map

RIGHT = rigid_matrix((3, 2, -4), (2, -3, 2))


@pytest.fixture
def folder(tmp_path):
    """A case that is prepared: the affine is wrong by 6 %."""
    known = data.truth(5, turn=(3, 2, -4), shift=(2, -3, 2), amplitude=0)
    pair = data.pair((46, 54, 46), 5, known=known)
    for name, image in (('fixed', pair.fixed), ('moving', pair.moving), ('mask', pair.fixed_mask)):
        nib.save(image, tmp_path / f'{name}.nii.gz')
    write_affine(tmp_path / 'rigid.txt', RIGHT)
    write_affine(tmp_path / 'affine.txt', RIGHT @ np.diag([1.06, 1.0, 1.0, 1.0]))
    np.savetxt(tmp_path / 'points.txt', pair.points)
    return tmp_path


def test_a_row_has_errors_figures_and_what_is_kept(folder):
    error, worse, rigid, affine, change, scale, choice = kept.measure(folder, solve=False)
    assert float(error) < 0.05 < 1 < float(worse)
    assert float(rigid) < float(affine)
    assert float(change.removesuffix(' %')) == pytest.approx(100 * (float(affine) / float(rigid) - 1), abs=0.6)
    assert (scale, choice) == ('6.0 %', 'rigid')


def test_where_no_points_are_known_there_are_no_errors(folder):
    (folder / 'points.txt').unlink()
    assert kept.measure(folder, solve=True)[:2] == ['', '']
    assert kept.measure(folder, solve=True)[6:] == ['rigid', '', '']


def test_the_solver_starts_from_both(folder, monkeypatch):
    starts = []

    def pretend(command, place, *, threads):
        starts.append(command[command.index('--affine') + 1])
        (place / 'out').mkdir()
        (place / 'out' / 'result.json').write_text('{}')

    monkeypatch.setattr(kept, 'run_measured', pretend)
    monkeypatch.setattr(kept, 'read_result', lambda out: (out, {}))
    monkeypatch.setattr(
        kept.judge, 'point_errors', lambda points, out: np.full(3, 1.0 if 'rigid' in out.parent.name else 2.0)
    )
    assert kept.measure(folder, solve=True)[7:] == ['1.00', '2.00']
    assert starts == [str(folder / 'rigid.txt'), str(folder / 'affine.txt')]
    kept.measure(folder, solve=True)
    assert len(starts) == 2, 'what is made serves again'


def test_a_stretched_header_moves_the_known_points(tmp_path, monkeypatch):
    path = tmp_path / 'anat-03_dseg.nii.gz'
    nib.save(nib.Nifti1Image(label_map().repeat(3, 0).repeat(3, 1).repeat(3, 2), np.eye(4)), path)
    found = {}
    for stretch in (1.0, 1.03):
        case = kept.Simulated(tmp_path, '03', 'PDw', 5.0, stretch)
        (tmp_path / case.name).mkdir()
        monkeypatch.chdir(tmp_path / case.name)
        case.write()
        found[stretch] = nib.load('moving_raw.nii.gz'), np.loadtxt('points.txt')
    (plain, points), (longer, moved) = found.values()
    np.testing.assert_allclose(nib.affines.voxel_sizes(longer.affine), (1.03, 1, 5))
    np.testing.assert_array_equal(plain.get_fdata(), longer.get_fdata())
    np.testing.assert_allclose(moved, points * [1, 1, 1, 1.03, 1, 1])
    inverse = np.linalg.inv(plain.affine), np.linalg.inv(longer.affine)
    at, again = (nib.affines.apply_affine(m, p[:, 3:]) for m, p in zip(inverse, (points, moved), strict=True))
    np.testing.assert_allclose(at, again, atol=1e-6)


def test_every_kind_of_case_is_found(tmp_path, monkeypatch, capsys):
    for session, suffixes in (('1', ('T1w', 'T2w')), ('2', ('T1w',))):
        anat = tmp_path / f'sub-01/ses-{session}/anat'
        anat.mkdir(parents=True)
        for suffix in suffixes:
            (anat / f'sub-01_ses-{session}_{suffix}.nii.gz').touch()
    monkeypatch.setattr(kept, 'prepared', lambda case, out: out)
    monkeypatch.setattr(kept, 'measure', lambda folder, solve: ['x'] * (7 + 2 * solve))
    folders = ['--labels', str(tmp_path), '--truth', str(tmp_path), '--sessions', str(tmp_path)]
    kept.main(
        [str(tmp_path), *folders, '--contrasts', 'PDw', '--slices', '5', '3', '--stretch', '1', '1.03', '--solve']
    )
    lines = capsys.readouterr().out.splitlines()
    names = [line.split(' | ')[0].removeprefix('| ') for line in lines[2:]]
    simulated = ['01 PDw 5 mm', '01 PDw 5 mm 1.03 x', '01 PDw 3 mm', '01 PDw 3 mm 1.03 x']
    assert names == [*simulated, f'01 of {tmp_path.name}', 'sub-01_ses-1']
    assert all(line.count('|') == lines[0].count('|') for line in lines)


@pytest.mark.slow  # ANTs at full length
def test_a_head_with_truth_is_prepared_once(tmp_path, monkeypatch):
    pair = data.pair((44, 52, 44), 1, known=data.truth(1, amplitude=1.0), bias=0.3)
    anat, truth = tmp_path / 'heads/sub-03/anat', tmp_path / 'heads/derivatives/truth/sub-03/anat'
    for place in (anat, truth):
        place.mkdir(parents=True)
    nib.save(pair.fixed, anat / 'sub-03_T1w.nii.gz')
    nib.save(pair.moving, anat / 'sub-03_T2w.nii.gz')
    nib.save(pair.fixed_mask, truth / 'sub-03_desc-brain_mask.nii.gz')
    np.savetxt(truth / 'sub-03_from-T1w_to-T2w_points.tsv', pair.points, header='a b c d e f', comments='')
    case = kept.WithTruth(tmp_path / 'heads', '03')
    folder = kept.prepared(case, tmp_path / 'out')
    assert folder.name == '03_of_heads'
    assert all(float(cell) < 1.5 for cell in kept.measure(folder, solve=False)[:2])
    monkeypatch.setattr(kept.WithTruth, 'write', None)
    assert kept.prepared(case, tmp_path / 'out') == folder
