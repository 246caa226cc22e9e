"""The declared memory."""

import nibabel as nb
import numpy as np

from bidsreg.workflows.resources import MEMORY, TYPICAL_SHAPE, gigabytes, solver_gigabytes, voxel_shape


def test_declared_memory_grows_with_the_images():
    assert gigabytes('n4', (512, 512, 256)) > gigabytes('n4', (128, 128, 128)) > MEMORY['n4'].base
    assert solver_gigabytes((256,) * 3, (256,) * 3, 1.0) > solver_gigabytes((256,) * 3, (256,) * 3, 2.0)


def test_the_shape_of_what_is_no_volume_is_a_typical_one(tmp_path):
    for name, shape in (('volume', (20, 24, 18)), ('trailing', (20, 24, 18, 1)), ('series', (20, 24, 18, 3))):
        nb.save(nb.Nifti1Image(np.ones(shape, np.float32), np.eye(4)), tmp_path / f'{name}.nii.gz')
    (tmp_path / 'broken.nii.gz').write_bytes(b'')
    shapes = [voxel_shape(tmp_path / f'{name}.nii.gz') for name in ('volume', 'trailing', 'series', 'broken')]
    assert shapes == [(20, 24, 18), (20, 24, 18), TYPICAL_SHAPE, TYPICAL_SHAPE]
