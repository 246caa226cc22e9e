"""Pairs of two people from raw scans: what is carried where, and that everything lies on one grid."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import real_pairs

from bidsreg.benchmark.labels import read_label_list
from bidsreg.preparation.affine import rigid_matrix
from bidsreg.registration.grid import Grid, apply_affine
from bidsreg.registration.image import Image
from bidsreg.registration.itk import write_affine
from tests import data

SHAPE = (36, 40, 36)


def write_scans(folder):
    """Write two people whose T2w lies elsewhere, skull-stripped, so that deepbet is not asked."""
    scans = {}
    for seed in (1, 2):
        pair = data.pair(SHAPE, seed=seed, known=data.truth(seed, (2, -3, 4), (2.0, -1.5, 3.0), amplitude=0))
        for end, contrast in (('fixed', 'T1w'), ('moving', 'T2w')):
            scan, mask = getattr(pair, end), getattr(pair, f'{end}_mask')
            brain = np.asarray(scan.dataobj) * np.asarray(mask.dataobj)
            scans[f'sub-0{seed}_{contrast}.nii.gz'] = data.image(brain, scan.affine)
    data.write_dataset(folder, {f'0{seed}': {None: ['T1w', 'T2w']} for seed in (1, 2)}, images=scans)


def blob(grid, centre, radius):
    away = np.linalg.norm(grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1)) - centre, axis=-1)
    return (away < radius).astype(np.uint8)


def test_both_ends_show_the_same_places_on_one_grid(tmp_path):
    """A blob in the T2w, and its label in the T1w of that session, come to one place through different matrices."""
    affine, rigid = rigid_matrix((5, -4, 8), (6, -3, 2)), rigid_matrix((-6, 3, 5), (-4, 7, 1))
    sessions = []
    for name, centre, matrix in (('a', np.array([2.0, -3, 1]), np.eye(4)), ('b', None, rigid)):
        folder = tmp_path / name
        folder.mkdir()
        centre = apply_affine(affine, np.array([2.0, -3, 1])) if centre is None else centre
        ends = {
            'T1w': (data.grid((40, 44, 20), 'RAS', voxel=(1, 1, 2.5)), centre),
            'T2w': (data.grid((50, 50, 24), 'RAS', voxel=(1, 1, 2.5)), apply_affine(matrix, centre)),
        }
        for contrast, (axes, at) in ends.items():
            grid = Grid((40, 44, 20) if contrast == 'T1w' else (50, 50, 24), axes)
            Image(blob(grid, at, 12).astype(np.float32), grid).save(folder / f'{contrast}.nii.gz')
            if contrast == 'T1w':
                for what in ('mask', 'dseg'):
                    Image(blob(grid, at, 12), grid).save(folder / f'{what}.nii.gz')
        write_affine(folder / 'rigid.txt', matrix)
        sessions.append(real_pairs.Session(name, f'sub-{name}', tmp_path, tmp_path, folder))
    real_pairs.make_pair(*sessions, affine, 1.0, tmp_path / 'pair')
    names = ('fixed_T1w', 'fixed_dseg', 'moving_T2w', 'moving_dseg')
    images = {name: Image.load(tmp_path / f'pair/{name}.nii.gz') for name in names}
    for name, image in images.items():
        assert image.grid.same_as(images['fixed_T1w'].grid)
        np.testing.assert_allclose(image.grid.spacing, 1)
        where = image.grid.to_world(np.argwhere(image.data > 0.5).mean(0))
        np.testing.assert_allclose(where, (2, -3, 1), atol=0.4, err_msg=name)
    assert not images['moving_T2w'].data[images['moving_dseg'].data == 0].any()


@pytest.mark.slow
def test_raw_scans_become_pairs_in_both_orders(tmp_path):
    write_scans(tmp_path / 'bids')
    out = tmp_path / 'out'
    real_pairs.main([str(tmp_path / 'bids'), str(out), '--voxel', '4', '--sloppy', '--pictures'])
    assert list(read_label_list(out / 'labels.tsv').values()) == list(real_pairs.CLASSES)
    for name in ('sub-01-sub-02', 'sub-02-sub-01'):
        fixed, moving = (np.asarray(nib.load(out / name / f'{end}_dseg.nii.gz').dataobj) for end in ('fixed', 'moving'))
        assert set(np.unique(fixed)) == set(np.unique(moving)) == {0, 1, 2, 3}
        both = ((fixed > 0) & (moving > 0)).sum()
        assert 2 * both / ((fixed > 0).sum() + (moving > 0).sum()) > 0.9
        assert (out / name / 'montage.png').stat().st_size > 1000
        # fluid, grey, white matter: dark to bright in the T1w; in the T2w fluid is bright
        t1w, t2w = (nib.load(out / name / file).get_fdata() for file in ('fixed_T1w.nii.gz', 'moving_T2w.nii.gz'))
        assert t1w[fixed == 1].mean() < t1w[fixed == 2].mean() < t1w[fixed == 3].mean()
        assert t2w[moving == 1].mean() > t2w[moving == 3].mean()
