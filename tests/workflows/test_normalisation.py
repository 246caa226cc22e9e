"""A person to a template in a graph alone: what comes out, and the real solver on small heads."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nb
import nitransforms
import numpy as np
import pytest

from bidsreg.registration.deformation import Deformation
from bidsreg.reports.spaces import SPACE_PICTURES
from bidsreg.workflows import init_normalisation_wf
from tests import data
from tests.graph_fixtures import dice, expanded, run_room

SHAPE = (40, 46, 40)


@pytest.fixture
def people(tmp_path):
    """A template and a person, larger, turned and folded otherwise; and a T2w of the person, which lies apart."""
    folder = tmp_path / 'people'
    folder.mkdir()
    known = data.truth(1, turn=(5, -3, 6), shift=(4, -3, 5), scale=(1.06, 1.02, 0.97), amplitude=0)
    made = {'template': data.head(SHAPE, 5), 'person': data.head(SHAPE, 6, moved=known)}
    paths = {}
    for name, head in made.items():
        for part, image in (('scan', head.scan), ('mask', head.mask)):
            paths[name, part] = str(folder / f'{name}_{part}.nii.gz')
            nb.save(image, paths[name, part])
    wide = nb.Nifti1Image(np.zeros((20, 23, 20)), made['template'].scan.affine @ np.diag([2, 2, 2, 1]))
    paths['wide', 'scan'] = str(folder / 'wide.nii.gz')
    nb.save(wide, paths['wide', 'scan'])
    return paths


def inputs_of(people) -> dict:
    return {
        'template': people['template', 'scan'],
        'template_mask': people['template', 'mask'],
        'references': [people['template', 'scan'], people['wide', 'scan']],
        'scan': people['person', 'scan'],
        'scan_mask': people['person', 'mask'],
        'notes': {'mask_method': 'known'},
    }


@pytest.mark.slow  # the real solver
def test_a_person_is_normalised(people, tmp_path):
    """The brain comes to lie in the template's, points agree in both directions, and the transforms chain."""
    room = init_normalisation_wf(sloppy=True, working_resolution=5.0)
    out = run_room(room, tmp_path, **inputs_of(people))
    assert dice(out['masks'][0], people['template', 'mask']) > 0.93
    assert [nb.load(path).shape for path in out['images']] == [SHAPE, (20, 23, 20)]
    facts = out['facts']
    json.dumps(facts)
    assert facts['mask_method'] == 'known'
    assert facts['overlap']['mask_dice']['registered'] == pytest.approx(
        dice(out['masks'][0], people['template', 'mask']), abs=1e-3
    )
    assert facts['overlap']['mask_dice']['affine'] > facts['overlap']['mask_dice']['before']
    assert set(facts['seconds_per_step']) == {'template_brain', 'scan_brain', 'rigid', 'affine', 'register', 'to_space'}
    assert sorted(Path(path).stem for path in out['figures']) == sorted(SPACE_PICTURES)
    ours = Deformation.load(out['forward'], out['inverse'])
    points = np.random.default_rng(0).uniform(-35, 35, (100, 3))
    for path, way in ((out['forward'], ours), (out['inverse'], ours.inverted())):
        found = nitransforms.manip.load(path, fmt='itk').map(points)
        assert np.linalg.norm(found - way.points(points), axis=1).max() < 0.3
    back = ours.inverted().points(ours.points(points))
    assert np.linalg.norm(back - points, axis=1).max() < 1
    jacobian = nb.load(out['jacobian'])
    assert jacobian.shape == SHAPE
    assert jacobian.get_fdata().min() > 0


def test_other_scans_are_chained_and_every_node_declares_its_memory():
    room = init_normalisation_wf(others=['T2w', 'FLAIR'], omp_nthreads=2)
    nodes = {node.name: node for node in expanded(room)}
    assert {'chain_T2w', 'chain_FLAIR', 'to_space_T2w', 'to_space_FLAIR'} <= set(nodes)
    assert nodes['chain_T2w'].n_procs == 2
    assert all(node.mem_gb > 0 for node in nodes.values() if not node.run_without_submitting)
    fields = room.get_node('outputnode').outputs.copyable_trait_names()
    assert {'T2w_forward', 'T2w_inverse', 'T2w_images', 'FLAIR_images'} <= set(fields)
    small, large = (init_normalisation_wf(template_shape=(n, n, n), scan_shape=(n, n, n)) for n in (64, 256))
    for name in ('register', 'to_space', 'rigid', 'measure'):
        assert large.get_node(name).mem_gb > small.get_node(name).mem_gb
