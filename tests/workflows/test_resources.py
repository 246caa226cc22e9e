"""The declared memory."""

import nibabel as nb
import numpy as np
import pytest

from bidsreg.execution.settings import ExecutionSettings
from bidsreg.workflows import resources
from bidsreg.workflows.resources import (
    MEMORY,
    TYPICAL_SHAPE,
    gigabytes,
    solver_gigabytes,
    threads_of_a_step,
    voxel_shape,
)


def test_declared_memory_grows_with_the_images():
    assert gigabytes('n4', (512, 512, 256)) > gigabytes('n4', (128, 128, 128)) > MEMORY['n4'].base
    assert solver_gigabytes((256,) * 3, (256,) * 3, 1.0) > solver_gigabytes((256,) * 3, (256,) * 3, 2.0)


def test_the_shape_of_what_is_no_volume_is_a_typical_one(tmp_path):
    for name, shape in (('volume', (20, 24, 18)), ('trailing', (20, 24, 18, 1)), ('series', (20, 24, 18, 3))):
        nb.save(nb.Nifti1Image(np.ones(shape, np.float32), np.eye(4)), tmp_path / f'{name}.nii.gz')
    (tmp_path / 'broken.nii.gz').write_bytes(b'')
    shapes = [voxel_shape(tmp_path / f'{name}.nii.gz') for name in ('volume', 'trailing', 'series', 'broken')]
    assert shapes == [(20, 24, 18), (20, 24, 18), TYPICAL_SHAPE, TYPICAL_SHAPE]


@pytest.mark.parametrize(
    ('pairs', 'most', 'memory', 'threads'),
    [
        (1, 0, 32, 8),  # alone it gets all
        (2, 0, 32, 4),
        (3, 0, 32, 2),
        (8, 0, 32, 1),
        (100, 0, 32, 1),
        (0, 0, 32, 8),
        (1, 3, 32, 3),  # what was asked for stays
        (100, 3, 32, 3),
        (100, 0, 6, 2),  # there is memory for three beside each other
        (100, 0, 1, 8),
    ],
)
def test_threads_go_where_pairs_leave_cpus_idle(pairs, most, memory, threads, tmp_path, monkeypatch):
    monkeypatch.setattr(resources, 'allowed_threads', lambda asked: asked)
    settings = ExecutionSettings(work_dir=tmp_path, nprocs=8, omp_nthreads=most, mem_gb=memory)
    assert threads_of_a_step(settings, [2.0, *[1.5] * pairs][:pairs]) == threads


def test_other_machines_share_their_cpus_themselves(tmp_path):
    settings = ExecutionSettings(work_dir=tmp_path, nprocs=6, use_plugin=tmp_path / 'plugin.yml')
    assert threads_of_a_step(settings, [2.0] * 50) == 6
