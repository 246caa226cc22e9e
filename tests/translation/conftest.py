"""Three small heads in both contrasts, as brains, as files, and as trainings of a few steps with tiny networks."""

from __future__ import annotations

import dataclasses

import nibabel as nb
import numpy as np
import pytest
import torch

from bidsreg.registration.grid import Grid
from bidsreg.registration.image import Image
from bidsreg.translation.model import untrained, write_model
from bidsreg.translation.recipes import RECIPES
from bidsreg.translation.settings import FitSettings
from bidsreg.translation.slices import SliceSampler
from bidsreg.translation.volumes import to_volume
from tests import data

#: Voxels of the heads, 7.5 mm and more; slices of 8 mm are 32 x 32 then.
SHAPE = (24, 28, 24)
SPACING = 8.0
SIZE = 32
PEOPLE = ('01', '02', '03')
CONTRASTS = ('T1w', 'T2w')


@pytest.fixture(autouse=True)
def one_thread():
    """Bits depend on the threads, and small networks are fastest with one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope='session')
def heads():
    """By contrast and person: the scan of a head."""
    return {name: {one: data.head(SHAPE, int(one), name) for one in PEOPLE} for name in CONTRASTS}


def image_of(scan) -> Image:
    return Image(np.asarray(scan.dataobj, np.float32), Grid(scan.shape, scan.affine))


def inside_of(head) -> np.ndarray:
    return np.asarray(head.mask.dataobj) > 0


@pytest.fixture(scope='session')
def brains(heads):
    """The same as brains on grids along the world axes."""
    return {
        name: {one: [to_volume(image_of(head.scan), inside_of(head), SPACING, one)] for one, head in people.items()}
        for name, people in heads.items()
    }


@pytest.fixture(scope='session')
def sampler(brains):
    return SliceSampler(brains['T2w'], brains['T1w'], size=SIZE, seed=3)


@pytest.fixture(scope='session')
def dataset(heads, tmp_path_factory):
    """A raw BIDS dataset with the brain masks of all scans in derivatives."""
    root = tmp_path_factory.mktemp('translation') / 'raw'
    images = {f'sub-{one}_{name}.nii.gz': head.scan for name, people in heads.items() for one, head in people.items()}
    data.write_dataset(root, {one: {None: list(CONTRASTS)} for one in PEOPLE}, images=images)
    for one in PEOPLE:
        anat = root / 'derivatives' / 'masks' / f'sub-{one}' / 'anat'
        anat.mkdir(parents=True)
        for name, space in (('T1w', ''), ('T2w', '_space-T2w')):
            nb.save(heads[name][one].mask, anat / f'sub-{one}{space}_desc-brain_mask.nii.gz')
    return root


@pytest.fixture(scope='session')
def table(heads, tmp_path_factory):
    """A table of the scans with their masks."""
    folder = tmp_path_factory.mktemp('translation table')
    rows = ['subject\tcontrast\timage\tmask']
    for name, people in heads.items():
        for one, head in people.items():
            nb.save(head.scan, folder / f'{one}_{name}.nii.gz')
            nb.save(head.mask, folder / f'{one}_{name}_mask.nii.gz')
            rows.append(f'{one}\t{name}\t{one}_{name}.nii.gz\t{one}_{name}_mask.nii.gz')
    (folder / 'scans.tsv').write_text('\n'.join(rows) + '\n')
    return folder / 'scans.tsv'


def tiny(name: str, **changes):
    """Return a recipe of tiny networks and a few steps."""
    small = {'width': 2, 'steps': 6, 'batch_size': 2}
    own = {'cut': {'projection': 8, 'patches': 20}, 'not': {'inner': 2}, 'not-weak': {'inner': 2, 'draws': 2}}
    return dataclasses.replace(RECIPES[name], **{**small, **own.get(name, {}), **changes})


def settings_for(source, out, name='cut', **changes) -> FitSettings:
    own = {key: changes.pop(key) for key in list(changes) if key in ('steps', 'width', 'batch_size', 'cost')}
    kept = {'spacing': SPACING, 'bias_correction': 'none', 'device': 'cpu', 'threads': 1, 'every': 3, 'seed': 5}
    return FitSettings(
        input=source,
        output_dir=out,
        source='T2w',
        target='T1w',
        recipe=tiny(name, **own),
        **{**kept, **changes},
    )


@pytest.fixture
def model_file(tmp_path):
    """The file of an untrained model."""
    settings = settings_for(tmp_path, tmp_path, 'cut')
    write_model(tmp_path / 'model.safetensors', untrained(settings).generator, settings, {'T1w': 3, 'T2w': 3})
    return tmp_path / 'model.safetensors'
