"""The command: both forms, on a dataset as the app leaves it."""

import json
import subprocess
import sys

import nibabel as nb
import numpy as np
import pytest

from bidsreg.apply.cli import build_parser, main
from bidsreg.registration import Deformation, Grid
from bidsreg.registration.numerics.inversion import invert_displacement
from tests import data

SHAPE = (40, 46, 40)


@pytest.fixture(scope='module')
def study(tmp_path_factory):
    """A pair with a known deformation, its transforms under their names, and files of every kind in the T2w."""
    folder = tmp_path_factory.mktemp('study')
    anat = folder / 'out/sub-01/anat'
    anat.mkdir(parents=True)
    pair = data.pair(SHAPE, 1, moving_shape=(46, 54, 44), moving_affine=data.GRIDS['oblique'][1], noise=0)
    nb.save(pair.fixed, anat / 'sub-01_desc-preproc_T1w.nii.gz')
    nb.save(pair.moving, anat / 'sub-01_desc-preproc_T2w.nii.gz')
    grid = Grid(SHAPE, pair.fixed.affine)
    u = pair.truth.displacement(data.world(grid.shape, grid.affine)).astype(np.float32)
    found = Deformation(pair.truth.matrix, u, invert_displacement(u, grid, tolerance=0.01)[0], grid)
    found.save(anat / 'sub-01_from-T2w_to-T1w_mode-image_xfm.h5')
    found.inverted().save(anat / 'sub-01_from-T1w_to-T2w_mode-image_xfm.h5')
    for end in ('from-T2w_to-T1w', 'from-T1w_to-T2w'):
        sources = ['bids::sub-01/anat/sub-01_desc-preproc_T1w.nii.gz', 'bids:raw:sub-01/anat/sub-01_T2w.nii.gz']
        (anat / f'sub-01_{end}_mode-image_xfm.json').write_text(json.dumps({'Sources': sources}))
    files = folder / 'files'
    files.mkdir()
    nb.save(pair.moving, files / 'sub-01_T2w.nii.gz')
    nb.save(pair.moving_labels, files / 'sub-01_space-T2w_desc-tissue_dseg.nii.gz')
    nb.save(pair.moving_labels, files / 'tissue.nii.gz')
    rows = ['x\ty\tz', *('\t'.join(f'{value:.5f}' for value in point) for point in pair.points[:, 3:])]
    (files / 'landmarks.tsv').write_text('\n'.join(rows) + '\n')
    vertices = nb.gifti.GiftiDataArray(
        pair.points[:, 3:].astype(np.float32), 'NIFTI_INTENT_POINTSET', coordsys=nb.gifti.GiftiCoordSystem(1, 1)
    )
    nb.save(nb.gifti.GiftiImage(darrays=[vertices]), files / 'sub-01_hemi-L_space-T2w_white.surf.gii')
    return folder, pair


@pytest.fixture
def by_entities(study, tmp_path, capsys):
    """Carry files of the study with the first form; returns the exit code, the folder of results and what was said."""

    def do(*words):
        folder, _ = study
        words = [str(folder / 'files' / word) if (folder / 'files' / word).exists() else word for word in words]
        out = tmp_path / 'carried'
        code = main([str(folder / 'out'), '--participant-label', '01', '--output-dir', str(out), *words])
        return code, out / 'sub-01/anat', capsys.readouterr().err

    return do


def dice(one, other, label):
    one, other = (np.asarray(nb.load(path).dataobj) == label for path in (one, other))
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def test_everything_at_once(by_entities):
    code, anat, said = by_entities(
        '--to', 'T1w', 'sub-01_T2w.nii.gz', 'tissue.nii.gz', 'sub-01_hemi-L_space-T2w_white.surf.gii'
    )
    assert code == 0, said
    assert sorted(path.name for path in anat.iterdir()) == [
        'sub-01_hemi-L_space-T1w_white.json',
        'sub-01_hemi-L_space-T1w_white.surf.gii',
        'sub-01_space-T1w_T2w.json',
        'sub-01_space-T1w_T2w.nii.gz',
        'sub-01_space-T1w_desc-tissue_dseg.json',
        'sub-01_space-T1w_desc-tissue_dseg.nii.gz',
    ]


def test_labels_meet_those_of_the_t1w(by_entities, study, tmp_path):
    _, pair = study
    code, anat, said = by_entities('--to', 'T1w', 'sub-01_space-T2w_desc-tissue_dseg.nii.gz')
    assert code == 0, said
    nb.save(pair.fixed_labels, tmp_path / 'truth.nii.gz')
    path = anat / 'sub-01_space-T1w_desc-tissue_dseg.nii.gz'
    for label in (1, 2, 3):
        assert dice(path, tmp_path / 'truth.nii.gz', label) > 0.75
    described = json.loads((anat / 'sub-01_space-T1w_desc-tissue_dseg.json').read_text())
    assert described['Kind'] == 'labels, by the suffix dseg of its name'
    assert 'labels, by the suffix' in said


def test_points_and_vertices_meet_the_truth(by_entities, study):
    """The same words as for images: bring them to the T1w."""
    _, pair = study
    code, anat, said = by_entities('--from', 'T2w', '--to', 'T1w', 'landmarks.tsv')
    assert code == 0, said
    found = np.loadtxt(anat / 'sub-01_space-T1w_desc-landmarks_points.tsv', skiprows=1)
    # between voxels of 4.5 mm both fields are linear
    assert np.linalg.norm(found - pair.points[:, :3], axis=1).max() < 0.3
    code, anat, said = by_entities('--to', 'T1w', 'sub-01_hemi-L_space-T2w_white.surf.gii')
    assert code == 0, said
    surface = nb.load(anat / 'sub-01_hemi-L_space-T1w_white.surf.gii')
    np.testing.assert_allclose(surface.darrays[0].data, found, atol=1e-3)


def test_a_file_whose_grid_says_where_it_is(by_entities):
    code, anat, said = by_entities('--to', 'T1w', 'tissue.nii.gz')
    assert code == 0, said
    assert (anat / 'sub-01_space-T1w_desc-tissue_dseg.nii.gz').exists()


def test_the_dataset_is_described(by_entities):
    _, anat, _ = by_entities('--to', 'T1w', 'tissue.nii.gz')
    assert (anat.parents[1] / 'dataset_description.json').exists()


@pytest.mark.parametrize('words', [['--to', 'T1w', 'FILE'], ['FILE', '--to', 'T1w']])
def test_options_may_stand_anywhere(study, tmp_path, words):
    folder, _ = study
    words = [str(folder / 'files/tissue.nii.gz') if word == 'FILE' else word for word in words]
    out = tmp_path / 'o.nii.gz'
    assert main([str(folder / 'out'), '--participant-label', 'sub-01', *words, '-o', str(out)]) == 0
    assert not (tmp_path / 'o.json').exists()


def test_transforms_by_name_are_as_by_entities(study, tmp_path):
    folder, _ = study
    anat, source = folder / 'out/sub-01/anat', folder / 'files/sub-01_T2w.nii.gz'
    named = ['-t', str(anat / 'sub-01_from-T2w_to-T1w_mode-image_xfm.h5'), '-r']
    named += [str(anat / 'sub-01_desc-preproc_T1w.nii.gz'), str(source), '-o']
    assert main([*named, str(tmp_path / 'a.nii.gz')]) == 0
    found = [str(folder / 'out'), '--participant-label', '01', '--to', 'T1w', str(source), '-o']
    assert main([*found, str(tmp_path / 'b.nii.gz'), '--threads', '2']) == 0
    assert (tmp_path / 'a.nii.gz').read_bytes() == (tmp_path / 'b.nii.gz').read_bytes()


def test_the_file_may_stand_right_behind_the_transforms(study, tmp_path):
    folder, _ = study
    xfm = str(folder / 'out/sub-01/anat/sub-01_from-T2w_to-T1w_mode-image_xfm.h5')
    points = str(folder / 'files/landmarks.tsv')
    for number, words in enumerate((['-t', xfm, points], [points, '-t', xfm], ['-t', xfm, '--inverse', points])):
        assert main([*words, '-o', str(tmp_path / f'{number}.tsv')]) == 0
    first, second, back = ((tmp_path / f'{number}.tsv').read_text() for number in range(3))
    assert first == second != back


def test_points_go_with_the_image_by_the_same_transform(study, tmp_path):
    folder, pair = study
    xfm = folder / 'out/sub-01/anat/sub-01_from-T2w_to-T1w_mode-image_xfm.h5'
    out = tmp_path / 'o.tsv'
    assert main([str(folder / 'files/landmarks.tsv'), '-t', str(xfm), '-o', str(out)]) == 0
    assert np.linalg.norm(np.loadtxt(out, skiprows=1) - pair.points[:, :3], axis=1).max() < 0.3
    back = tmp_path / 'b.tsv'
    assert main([str(out), '-t', str(xfm), '--inverse', '-o', str(back)]) == 0
    np.testing.assert_allclose(np.loadtxt(back, skiprows=1), pair.points[:, 3:], atol=5e-3)


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['OUT', '--to', 'T1w', 'T2w'], '--participant-label is missing'),
        (['OUT', '--participant-label', '01', 'T2w'], '--to is missing'),
        (['OUT', '--participant-label', '01', '--to', 'T1w'], 'Name the files to carry'),
        (['OUT', '--participant-label', '01', '--to', 'T1w', 'nowhere.nii.gz'], 'there is no such file'),
        (['OUT', '--participant-label', '02', '--to', 'T1w', 'tissue'], 'no transform of sub-02'),
        (['OUT', '--participant-label', '02', '--to', 'T1w', 'T2w'], 'is of sub-01'),
        (['OUT', '--participant-label', '*', '--to', 'T1w', 'T2w'], "'*' is no label"),
        (['OUT', '--participant-label', '01', '--to', 'MNI', 'T2w'], 'leads from T2w to MNI'),
        (['OUT', '--participant-label', '01', '--to', 'T1w', 'T2w', '--inverse'], '--inverse is for --transform'),
        (['OUT', '--participant-label', '01', '--to', 'T1w', 'T2w', 'tissue', '-o', 'x.nii'], '-o names one result'),
        (['-t', 'XFM', '-r', 'T2w', 'T2w'], 'with -o'),
        (['-t', 'XFM', '-r', 'T2w', 'T2w', 'tissue', '-o', 'x.nii'], 'one FILE'),
        (['-t', 'XFM', '-r', 'T2w', 'T2w', '-o', 'x.nii', '--to', 'T1w'], '--to finds transforms'),
        (['-t', 'nowhere.h5', '-r', 'T2w', 'T2w', '-o', 'x.nii'], 'nowhere.h5: there is no such file'),
        (['-t', 'XFM', '-o', 'x.nii'], 'one FILE'),
        ([], 'Name DERIVATIVES'),
        (['-t', 'XFM', '-r', 'T2w', 'T2w', '-o', 'x.nii', '--threads', '-1'], '--threads must not be negative'),
    ],
)
def test_commands_that_cannot_be_meant(study, tmp_path, monkeypatch, capsys, words, message):
    folder, _ = study
    known = {
        'OUT': folder / 'out',
        'XFM': folder / 'out/sub-01/anat/sub-01_from-T2w_to-T1w_mode-image_xfm.h5',
        'T2w': folder / 'files/sub-01_T2w.nii.gz',
        'tissue': folder / 'files/tissue.nii.gz',
    }
    monkeypatch.chdir(tmp_path)
    try:
        code = main([str(known.get(word, word)) for word in words])
    except SystemExit as error:
        code = error.code
    assert code == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_fails_is_told_and_the_code_says_so(study, tmp_path, capsys):
    folder, pair = study
    blurred = np.asarray(pair.moving_labels.dataobj) + np.float32(0.5)
    nb.save(data.image(blurred, pair.moving.affine), tmp_path / 'sub-01_space-T2w_desc-bad_dseg.nii.gz')
    out = tmp_path / 'o'
    words = [str(tmp_path / 'sub-01_space-T2w_desc-bad_dseg.nii.gz'), str(folder / 'files/tissue.nii.gz')]
    code = main([str(folder / 'out'), '--participant-label', '01', '--to', 'T1w', *words, '--output-dir', str(out)])
    assert code == 2
    assert 'holds whole numbers' in capsys.readouterr().err
    assert (out / 'sub-01/anat/sub-01_space-T1w_desc-tissue_dseg.nii.gz').exists()


def test_help_names_every_choice(capsys):
    with pytest.raises(SystemExit):
        build_parser().parse_args(['--help'])
    text = capsys.readouterr().out
    for word in ('nearest', 'lanczos', 'label', 'tkr', 'LAST one named', 'Exit codes'):
        assert word in text


def test_as_a_module(study, tmp_path):
    folder, _ = study
    words = [str(folder / 'out'), '--participant-label', '01', '--from', 'T2w', '--to', 'T1w']
    words += [str(folder / 'files/landmarks.tsv'), '-o', str(tmp_path / 'o.tsv')]
    done = subprocess.run([sys.executable, '-m', 'bidsreg.apply', *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'o.tsv').exists()
