"""Our transforms as other people's readers see them: ANTsPy, nitransforms, SimpleITK."""

import h5py
import nibabel as nib
import numpy as np
import pytest

from bidsreg.registration import Deformation, Grid, Image, itk
from tests import data

NAMES = ['ras', 'left-handed', 'sagittal', 'oblique', 'oblique-left-handed', 'thick']


def smooth_deformation(fixed_affine, shape, seed=0):
    """A deformation with a known field on a grid that has its own idea of axes and voxels, zero at the border."""
    known = data.truth(seed, turn=(6, -5, 4), shift=(5, -7, 4), scale=(1.05, 0.97, 1.02))
    grid = Grid(shape, fixed_affine).orthogonalised()
    window = 1.0
    for axis, n in enumerate(grid.shape):
        taper = np.sin(np.pi * np.arange(n) / (n - 1)) ** 2
        window = window * taper.reshape([-1 if a == axis else 1 for a in range(3)])
    points = data.world(grid.shape, grid.affine)
    u = known.displacement(points) * window[..., None]
    back = -u
    for _ in range(20):
        at = points + back
        back = -np.stack([_linear(u[..., i], grid, at) for i in range(3)], -1)
    return Deformation(known.matrix, u.astype(np.float32), back.astype(np.float32), grid)


def _linear(values, grid, points):
    from scipy import ndimage as ndi

    return ndi.map_coordinates(values, np.moveaxis(grid.to_voxels(points), -1, 0), order=1)


@pytest.fixture(scope='module')
def pair():
    return data.pair(shape=(40, 46, 40), moving_shape=(46, 54, 44), moving_affine=data.GRIDS['oblique'][1], noise=0)


def written(name, tmp_path):
    shape, affine = data.GRIDS[name]
    deformation = smooth_deformation(affine, shape)
    forward, inverse = tmp_path / 'forward.h5', tmp_path / 'inverse.h5'
    deformation.save(forward)
    deformation.inverted().save(inverse)
    return deformation, Grid(shape, affine), forward, inverse


def well_inside(grid, deformation, image_grid):
    """Voxels of `grid` whose goal lies a voxel or more inside the image: at its rim the readers differ."""
    points = deformation.points(grid.to_world(np.argwhere(np.ones(grid.shape, bool))))
    at = image_grid.to_voxels(points)
    return ((at >= 1) & (at <= np.array(image_grid.shape) - 2)).all(1).reshape(grid.shape)


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('direction', ['forward', 'inverse'])
def test_ants_and_nitransforms_resample_as_we_do(name, direction, tmp_path, pair):
    import ants
    import nitransforms as nt
    from nitransforms.resampling import apply

    deformation, fixed_grid, forward, inverse = written(name, tmp_path)
    moving = Image(np.asarray(pair.moving.dataobj, np.float32), Grid(pair.moving.shape, pair.moving.affine))
    fixed = data.t1w(fixed_grid.shape, affine=fixed_grid.affine, noise=0)
    fixed = Image(np.asarray(fixed.dataobj, np.float32), fixed_grid)
    if direction == 'forward':
        used, source, target, path = deformation, moving, fixed, forward
    else:
        used, source, target, path = deformation.inverted(), fixed, moving, inverse
    ours = used.apply(source, target.grid)
    source.save(tmp_path / 'source.nii.gz')
    target.save(tmp_path / 'target.nii.gz')
    inside = well_inside(target.grid, used, source.grid)
    assert inside.mean() > 0.2
    scale = source.data.max()

    theirs = ants.apply_transforms(
        ants.image_read(str(tmp_path / 'target.nii.gz')),
        ants.image_read(str(tmp_path / 'source.nii.gz')),
        [str(path)],
        interpolator='linear',
    ).numpy()
    assert np.abs(theirs - ours.data)[inside].max() < 2e-4 * scale

    chain = nt.manip.load(path, fmt='h5')
    chain.reference = nib.load(tmp_path / 'target.nii.gz')
    theirs = np.asarray(apply(chain, nib.load(tmp_path / 'source.nii.gz'), order=1).dataobj)
    difference = np.abs(theirs - ours.data)[inside] / scale
    # between its voxels nitransforms takes a field by cubic splines, ITK and we linearly: apart off the field's grid
    assert difference.max() < (2e-4 if direction == 'forward' else 6e-2 if name == 'thick' else 2e-2)
    assert np.percentile(difference, 95) < (1e-5 if direction == 'forward' else 2e-3)


@pytest.mark.parametrize('name', NAMES)
def test_simpleitk_maps_points_as_we_do(name, tmp_path):
    sitk = pytest.importorskip('SimpleITK')
    deformation, grid, forward, inverse = written(name, tmp_path)
    rng = np.random.default_rng(0)
    points = grid.to_world(rng.uniform(0.2, 0.8, (40, 3)) * (np.array(grid.shape) - 1))
    for path, used in ((forward, deformation), (inverse, deformation.inverted())):
        transform = sitk.ReadTransform(str(path))
        flip = np.array([-1, -1, 1])
        theirs = np.array([transform.TransformPoint(tuple(map(float, p * flip))) for p in points]) * flip
        np.testing.assert_allclose(used.points(points), theirs, atol=1e-3)


def test_reading_back_what_was_written(tmp_path):
    deformation, _, forward, inverse = written('oblique-left-handed', tmp_path)
    back = Deformation.load(forward, inverse)
    np.testing.assert_allclose(back.affine, deformation.affine, atol=1e-6)
    np.testing.assert_allclose(back.forward, deformation.forward, atol=1e-6)
    np.testing.assert_allclose(back.inverse, deformation.inverse, atol=1e-6)
    assert back.grid.same_as(deformation.grid, 1e-3)
    with pytest.raises(ValueError, match='forward and inverse transform'):
        Deformation.load(inverse, forward)


def test_no_flipped_bit_of_a_transform_is_read_as_another_one(tmp_path):
    known, _, forward, inverse = written('oblique', tmp_path)
    whole, rng = forward.read_bytes(), np.random.default_rng(0)
    told = unharmed = 0
    # anywhere, and in the first kilobytes, where HDF5 keeps its structures
    for at in [*rng.integers(len(whole), size=40), *rng.integers(6000, size=40)]:
        broken = bytearray(whole)
        broken[at] ^= 1 << rng.integers(8)
        forward.write_bytes(broken)
        try:
            found = Deformation.load(forward, inverse)
        except ValueError as error:
            told += str(forward) in str(error)
        else:
            unharmed += 1
            np.testing.assert_array_equal(found.forward, known.forward)
            np.testing.assert_allclose(found.affine, known.affine, atol=1e-3)
    assert told + unharmed == 80
    assert told > 20


def changed(path, name, value):
    """Change the first value of a dataset."""
    with h5py.File(path, 'r+') as file:
        values = file['TransformGroup'][name]
        values[0] = value


@pytest.mark.parametrize(
    ('name', 'value', 'words'),
    [
        ('2/TransformParameters', np.nan, 'not finite'),
        ('2/TransformParameters', 1e6, 'displacements of 1e'),
        ('2/TransformFixedParameters', 17, 'values for a field of 17 x'),
        ('1/TransformParameters', np.inf, 'affine is not finite'),
        ('1/TransformParameters', 1.01, 'their affines differ by'),
    ],
)
def test_what_is_no_transform_of_a_head_is_refused(tmp_path, name, value, words):
    _, _, forward, inverse = written('oblique', tmp_path)
    changed(forward, name, value)
    with pytest.raises(ValueError, match=words) as caught:
        Deformation.load(forward, inverse)
    assert str(forward) in str(caught.value)


def test_affine_files(tmp_path):
    import ants

    matrix = data.truth(3).matrix
    itk.write_affine(tmp_path / 'a.txt', matrix)
    np.testing.assert_allclose(itk.read_affine(tmp_path / 'a.txt'), matrix, atol=1e-12)
    np.savetxt(tmp_path / 'plain.txt', matrix)
    np.testing.assert_allclose(itk.read_affine(tmp_path / 'plain.txt'), matrix, atol=1e-12)
    transform = ants.read_transform(str(tmp_path / 'a.txt'))
    transform.set_fixed_parameters([5.0, -3.0, 2.0])  # ITK turns about a centre: ours must not ignore it
    ants.write_transform(transform, str(tmp_path / 'b.mat'))
    point = np.array([10.0, 20.0, -5.0])
    theirs = np.array(ants.read_transform(str(tmp_path / 'b.mat')).apply_to_point(list(point * [-1, -1, 1]))) * [
        -1,
        -1,
        1,
    ]
    ours = itk.read_affine(tmp_path / 'b.mat')
    np.testing.assert_allclose(ours[:3, :3] @ point + ours[:3, 3], theirs, atol=1e-4)


def test_an_affine_file_is_what_itk_writes_itself(tmp_path):
    sitk = pytest.importorskip('SimpleITK')
    matrix = data.truth(3).matrix
    itk.write_affine(tmp_path / 'a.txt', matrix)
    transform = sitk.ReadTransform(str(tmp_path / 'a.txt'))
    x, y, z = transform.TransformPoint((-10.0, -20.0, 30.0))  # LPS
    np.testing.assert_allclose((-x, -y, z), (matrix @ [10, 20, 30, 1])[:3], atol=1e-10)

    transform = sitk.AffineTransform(3)
    transform.SetCenter((12.0, -30.0, 7.0))
    transform.SetMatrix(np.diag([1.1, 0.9, 1.0]).ravel())
    transform.SetTranslation((1.0, 2.0, 3.0))
    for name in ('b.txt', 'b.mat'):
        sitk.WriteTransform(transform, str(tmp_path / name))
        point = (itk.read_affine(tmp_path / name) @ [10, 20, 30, 1])[:3]
        x, y, z = transform.TransformPoint((-10.0, -20.0, 30.0))
        np.testing.assert_allclose(point, (-x, -y, z), atol=1e-10)


def test_nitransforms_reads_the_affine(tmp_path):
    linear = pytest.importorskip('nitransforms.linear')
    matrix = data.truth(3).matrix
    itk.write_affine(tmp_path / 'a.txt', matrix)
    np.testing.assert_allclose(linear.load(tmp_path / 'a.txt', fmt='itk').matrix, matrix, atol=1e-6)


@pytest.mark.parametrize(
    'text',
    [
        '',
        'hello',
        '1 2 3',
        '0 0 0 0\n' * 4,
        '1 0 0 0\n0 1 0 0\n0 0 1 0\n5 -3 2 1\n',
        '#Insight Transform File V1.0\nParameters: 1 2\n',
        '#Insight Transform File V1.0\nTransform: AffineTransform_double_3_3\nParameters: 1 2\n',
    ],
)
def test_bad_affine_files_name_the_file(tmp_path, text):
    path = tmp_path / 'bad.txt'
    path.write_text(text)
    with pytest.raises(ValueError, match=r'bad\.txt'):
        itk.read_affine(path)


def test_a_killed_writer_leaves_no_half_file(tmp_path, monkeypatch):
    deformation, _, forward, _ = written('ras', tmp_path)
    before = forward.read_bytes()

    def fail(*_, **__):
        raise OSError('No space left on device')

    monkeypatch.setattr(h5py.Group, 'create_dataset', fail)
    with pytest.raises(OSError, match='No space'):
        deformation.save(forward)
    assert forward.read_bytes() == before
    assert not [p for p in tmp_path.iterdir() if p.name.startswith('.')]


# ---------------------------------------------------------------------------------------------------- of others
def through(parts, points):
    """Where points come to, by SciPy."""
    for part in parts:
        if isinstance(part, np.ndarray):
            points = nib.affines.apply_affine(part, points)
        else:
            points = points + np.stack([_linear(part.displacement[..., i], part.grid, points) for i in range(3)], -1)
    return points


def mapped_by_sitk(transform, points):
    lps = np.array([-1, -1, 1])
    return np.array([transform.TransformPoint((point * lps).tolist()) for point in points]) * lps


def test_every_kind_of_part_as_simpleitk_takes_it(tmp_path):
    sitk = pytest.importorskip('SimpleITK')
    euler = sitk.Euler3DTransform((3.0, -5, 7), 0.2, -0.3, 0.4, (1, 2, 3))
    other = sitk.Euler3DTransform(euler)
    other.SetComputeZYX(True)
    affine = sitk.AffineTransform([1.1, 0.1, 0, -0.1, 0.9, 0.2, 0, 0.1, 1.05], [4, 5, -6], [10, -3, 2])
    field = sitk.Image([30, 32, 28], sitk.sitkVectorFloat64)
    field.SetOrigin((-90, -96, -84))
    field.SetSpacing((6, 6, 6))
    values = np.random.default_rng(0).normal(0, 2, (28, 32, 30, 3))
    field = sitk.GetImageFromArray(values, isVector=True)
    field.SetOrigin((-90, -96, -84))
    field.SetSpacing((6, 6, 6))
    parts = [sitk.TranslationTransform(3, (1, -2, 3)), euler, sitk.DisplacementFieldTransform(field), other, affine]
    composite = sitk.CompositeTransform(parts)
    points = np.random.default_rng(1).uniform(-40, 40, (40, 3))
    expected = mapped_by_sitk(composite, points)
    sitk.WriteTransform(composite, str(tmp_path / 'x.h5'))
    found = itk.read_transform(tmp_path / 'x.h5')
    assert len(found) == 5
    np.testing.assert_allclose(through(found, points), expected, atol=1e-3)
    # a file of one transform has no composite around it
    sitk.WriteTransform(affine, str(tmp_path / 'one.h5'))
    np.testing.assert_allclose(
        through(itk.read_transform(tmp_path / 'one.h5'), points), mapped_by_sitk(affine, points), atol=1e-5
    )


@pytest.mark.parametrize('ending', ['.txt', '.tfm', '.mat', '.h5'])
def test_every_kind_of_matrix_as_simpleitk_takes_it(tmp_path, ending):
    sitk = pytest.importorskip('SimpleITK')
    versor = sitk.VersorRigid3DTransform((0.3, -0.2, 0.4, 0.85), (3, -5, 7), (10, 20, -30))
    similarity = sitk.Similarity3DTransform(1.2, (-0.1, 0.5, 0.2, 0.8), (3, -5, 7), (10, 20, -30))
    kinds = [versor, similarity, sitk.Euler3DTransform((3.0, -5, 7), 0.2, -0.3, 0.4, (1, 2, 3))]
    kinds += [
        sitk.TranslationTransform(3, (1, -2, 3)),
        sitk.AffineTransform([1.1, 0, 0.3, 0, 1, 0, 0, 0.2, 1], [4, 5, 6]),
    ]
    points = np.random.default_rng(1).uniform(-40, 40, (40, 3))
    for kind in kinds:
        sitk.WriteTransform(kind, str(tmp_path / f'x{ending}'))
        found = itk.read_transform(tmp_path / f'x{ending}')
        np.testing.assert_allclose(through(found, points), mapped_by_sitk(kind, points), atol=1e-4)


def test_the_name_that_c3d_and_nitransforms_give_an_affine(tmp_path):
    matrix = data.truth(3).matrix
    itk.write_affine(tmp_path / 'a.txt', matrix)
    text = (tmp_path / 'a.txt').read_text()
    (tmp_path / 'b.txt').write_text(text.replace('AffineTransform_double', 'MatrixOffsetTransformBase_double'))
    np.testing.assert_allclose(itk.read_affine(tmp_path / 'b.txt'), matrix, atol=1e-12)
    (tmp_path / 'c.txt').write_text(text.replace('AffineTransform_double', 'ScaleVersor3DTransform_double'))
    with pytest.raises(ValueError, match=r'c\.txt: .*of the kind ScaleVersor3D cannot be read'):
        itk.read_affine(tmp_path / 'c.txt')
    _, _, forward, _ = written('ras', tmp_path)
    expected = next(part for part in itk.read_transform(forward) if isinstance(part, np.ndarray))
    with h5py.File(forward, 'r+') as file:
        group = next(g for g in file['TransformGroup'].values() if b'Affine' in g['TransformType'][0])
        del group['TransformType']
        group['TransformType'] = np.array([b'MatrixOffsetTransformBase_double_3_3'], 'S40')
    found = next(part for part in itk.read_transform(forward) if isinstance(part, np.ndarray))
    np.testing.assert_array_equal(found, expected)


def test_names_that_older_itk_misspells(tmp_path):
    deformation, _, forward, _ = written('oblique', tmp_path)
    with h5py.File(forward, 'r+') as file:
        for key in ('1', '2'):
            for name in ('Parameters', 'FixedParameters'):
                file.move(f'TransformGroup/{key}/Transform{name}', f'TransformGroup/{key}/Tranform{name}')
    field, matrix = itk.read_transform(forward)
    np.testing.assert_allclose(matrix, deformation.affine, atol=1e-6)
    np.testing.assert_array_equal(field.displacement, deformation.forward)


def test_a_warp_as_ants_writes_it(tmp_path):
    import ants

    deformation, grid, forward, _ = written('oblique', tmp_path)
    Image(np.zeros(grid.shape, np.float32), grid).save(tmp_path / 'fixed.nii.gz')
    fixed = ants.image_read(str(tmp_path / 'fixed.nii.gz'))
    warp = ants.apply_transforms(fixed, fixed, [str(forward)], compose=f'{tmp_path}/')
    (field,) = itk.read_transform(warp)
    inside = grid.to_world(np.random.default_rng(0).uniform(2, np.array(grid.shape) - 3, (50, 3)).round())
    np.testing.assert_allclose(through([field], inside), deformation.points(inside), atol=1e-3)


@pytest.mark.parametrize('scale', [0.8, 1.0, 1.4])
@pytest.mark.parametrize('name', ['ras', 'oblique-left-handed'])
def test_a_deformation_of_spm_is_not_taken_for_a_warp(tmp_path, name, scale):
    _, grid, _, _ = written(name, tmp_path)
    places = data.world(grid.shape, grid.affine) @ (data.rotation(z=20) * scale).T + (4, -9, 3)
    save_warp(places, grid, tmp_path / 'y_scan.nii')
    with pytest.raises(ValueError, match=r'y_scan\.nii: holds places in the other image, as deformations of SPM'):
        itk.read_transform(tmp_path / 'y_scan.nii')


def test_a_transform_of_niftyreg_is_not_taken_for_a_warp(tmp_path):
    _, grid, _, _ = written('ras', tmp_path)
    save_warp(np.ones((*grid.shape, 3)), grid, tmp_path / 'field.nii.gz', 'NREG_TRANS')
    with pytest.raises(ValueError, match=r'field\.nii\.gz: is a transform of NiftyReg'):
        itk.read_transform(tmp_path / 'field.nii.gz')


@pytest.mark.parametrize(
    'matrix', [np.diag([0.5, 0.5, 0.5]), np.diag([1.9, 1.9, 1.9]), np.diag([-1.0, -1.0, 1.0]), data.rotation(x=80)]
)
def test_a_warp_with_a_large_affine_in_it_is_one(tmp_path, matrix):
    """ANTs writes affine and warp into one field where it is asked to."""
    _, grid, _, _ = written('oblique', tmp_path)
    points = data.world(grid.shape, grid.affine)
    middle = grid.to_world((np.array(grid.shape) - 1) / 2)
    save_warp(((points - middle) @ (matrix - np.eye(3)).T) * (-1, -1, 1), grid, tmp_path / 'warp.nii.gz')
    (field,) = itk.read_transform(tmp_path / 'warp.nii.gz')
    np.testing.assert_allclose(
        through([field], points[3, 4, 5][None])[0], middle + matrix @ (points[3, 4, 5] - middle), atol=1e-3
    )


def save_warp(vectors, grid, path, name=''):
    image = nib.Nifti1Image(vectors.astype(np.float32)[:, :, :, None], grid.affine)
    image.header.set_intent('vector', name=name)
    nib.save(image, path)


def test_what_cannot_be_read_is_said(tmp_path):
    _, grid, forward, _ = written('ras', tmp_path)
    with h5py.File(forward, 'r+') as file:
        del file['TransformGroup/1/TransformType']
        file['TransformGroup/1/TransformType'] = np.array([b'BSplineTransform_double_3_3'], 'S30')
    with pytest.raises(ValueError, match='of the kind BSpline cannot be read'):
        itk.read_transform(forward)
    Image(np.zeros(grid.shape, np.float32), grid).save(tmp_path / 'scan.nii.gz')
    with pytest.raises(ValueError, match='no transform: displacements have the shape'):
        itk.read_transform(tmp_path / 'scan.nii.gz')


def test_fields_that_are_not_finite_or_of_another_size_are_refused(tmp_path):
    _, _, forward, _ = written('ras', tmp_path)
    with h5py.File(forward, 'r+') as file:
        group = next(g for g in file['TransformGroup'].values() if b'Displacement' in g['TransformType'][0])
        group['TransformParameters'][5] = np.nan
    with pytest.raises(ValueError, match='not finite'):
        itk.read_transform(forward)
    with h5py.File(forward, 'r+') as file:
        group = next(g for g in file['TransformGroup'].values() if b'Displacement' in g['TransformType'][0])
        group['TransformFixedParameters'][0] += 1
    with pytest.raises(ValueError, match='values for a field'):
        itk.read_transform(forward)
