"""The graph of one person and one template: where the scan comes from, and the whole of it on small heads."""

from __future__ import annotations

import shutil
from dataclasses import replace

import nibabel as nb
import numpy as np
import pytest
from nilearn.image import load_img
from nipype import config

from bidsreg.bids.names import pair_outputs, sidecar
from bidsreg.bids.normalisations import (
    Normalisation,
    find_references,
    finished_pairs,
    normalisation_outputs,
    pairs_with_ratio,
    why_not_normalised,
)
from bidsreg.bids.pairs import find_pairs
from bidsreg.bids.publish import publish
from bidsreg.bids.publish_normalisation import read_normalisation_qc
from bidsreg.bids.ratios import publish_ratio
from bidsreg.bids.sidecars import read_json
from bidsreg.bids.spaces import parse_spaces
from bidsreg.preparation.ants import load_ants
from bidsreg.registration.deformation import Deformation
from bidsreg.registration.grid import Grid
from bidsreg.reports.spaces import SPACE_PICTURES
from bidsreg.settings import Settings
from bidsreg.templates.prepare import make_template
from bidsreg.workflows.space import init_space_wf, init_spaces_wf
from tests import data
from tests.fake_app import fake_files
from tests.fake_ratios import MADE
from tests.graph_fixtures import expanded, expanded_graph


@pytest.fixture
def made(bids, tmp_path):
    """Settings, a template of one's own, and a function that gives the normalisation of a subject."""
    raw = shutil.copytree(bids, tmp_path / 'raw')
    head = data.head((40, 46, 40), 7)
    nb.save(head.scan, tmp_path / 'study_T1w.nii.gz')
    nb.save(head.mask, tmp_path / 'study_mask.nii.gz')
    settings = Settings(
        bids_dir=raw,
        output_dir=tmp_path / 'out',
        work_dir=tmp_path / 'work',
        output_spaces=(f'mystudy:{tmp_path / "study_T1w.nii.gz"}:res-2',),
        ratio='uncalibrated',
        sloppy=True,
        working_resolution=5.0,
        device='cpu',
    )
    template = make_template(parse_spaces(settings.output_spaces)[0], tmp_path, tmp_path / 'templates')

    def unit_of(subject: str) -> Normalisation:
        plan = find_pairs(settings)
        (reference,) = (one for one in find_references(plan, settings) if one.scan.subject == subject)
        pairs = finished_pairs(reference, plan, settings)
        made = template.space, template.stamp, template.origin, template.sources
        return Normalisation(reference, *made, pairs, settings.ratio, pairs_with_ratio(pairs, settings))

    return settings, template, unit_of


def names(workflow) -> set[str]:
    return {node.fullname.partition('.')[2] for node in expanded(workflow)}


def others_read(paths, folder) -> None:
    """nilearn and ANTsPy read every image, and ANTs applies every transform."""
    ants = load_ants()
    for path in paths.values():
        if path.name.endswith('.nii.gz'):
            image = load_img(path)
            theirs = ants.image_read(str(path))
            assert theirs.shape == image.shape
            np.testing.assert_allclose(theirs.numpy(), image.get_fdata(), rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(theirs.spacing, image.header.get_zooms()[:3], rtol=1e-4)
    scan = ants.image_read(str(paths['image_res-2']))
    for key in ('forward', 'inverse', 'pair0_forward', 'pair0_inverse'):
        moved = ants.apply_transforms(scan, scan, [str(paths[key])])
        assert moved.numpy().any(), key


def finish_pair(settings, subject: str) -> None:
    """Publish a pair whose scans lie where they are, moved by nothing."""
    (pair,) = (one for one in find_pairs(settings).pairs if one.subject == subject)
    files = fake_files(pair, settings.work_dir / 'made')
    shutil.copy(pair.fixed, files['fixed_preproc'])
    shutil.copy(pair.fixed_mask, files['fixed_mask'])
    shutil.copy(pair.moving, files['moving_preproc'])
    image = nb.load(pair.fixed)
    still = Deformation.identity(Grid(image.shape, image.affine))
    still.save(files['forward_xfm'])
    still.inverted().save(files['inverse_xfm'])
    publish(files, pair, settings, {})
    inside = np.asarray(nb.load(pair.fixed_mask).dataobj) > 0
    path = settings.work_dir / 'ratio.nii.gz'
    nb.save(nb.Nifti1Image(np.where(inside, np.float32(1.5), np.float32(0)), image.affine), path)
    publish_ratio(path, pair, settings, {**MADE, 'kind': settings.ratio}, {}, {})


def test_a_scan_of_a_pair_is_taken_from_the_derivatives_and_any_other_is_masked(made):
    settings, template, unit_of = made
    alone = names(init_space_wf(unit=unit_of('01'), template=template, settings=settings))
    assert any('masking_wf' in name for name in alone)
    assert not any('chain' in name for name in alone)
    finish_pair(settings, '01')
    unit = unit_of('01')
    workflow = init_space_wf(unit=unit, template=template, settings=settings)
    assert not any('masking_wf' in name for name in names(workflow))
    assert 'normalisation_wf.chain_pair0' in names(workflow)
    paths = pair_outputs(unit.pairs[0], settings.output_dir)
    assert workflow.get_node('inputnode').inputs.scan == str(paths['fixed_preproc'])


def test_a_t2w_alone_is_masked_as_one(made):
    settings, template, unit_of = made
    for path in settings.bids_dir.glob('sub-02/anat/*'):
        if 'T2w' not in path.name:
            path.unlink()
    workflow = init_space_wf(unit=unit_of('02'), template=template, settings=settings)
    assert workflow.get_node('masking_wf.brain_mask').inputs.contrast == 'T2w'


def draw_lesion(settings, subject: str) -> np.ndarray:
    """Draw a lesion beside the T1w of a subject, and return where it is."""
    (scan,) = settings.bids_dir.glob(f'sub-{subject}/anat/*_T1w.nii.gz')
    image = nb.load(scan)
    ill = np.zeros(image.shape, np.uint8)
    ill[22:28, 20:26, 18:24] = 1
    nb.save(nb.Nifti1Image(ill, image.affine), scan.with_name(f'sub-{subject}_label-lesion_roi.nii.gz'))
    return ill > 0


def wires(workflow) -> set[tuple[str, str, str]]:
    """Return from where a lesion goes where, as what."""
    return {
        (source.fullname.split('.', 1)[1], goal.fullname.split('.', 1)[1], field)
        for source, goal, data in expanded_graph(workflow).edges(data=True)
        for _, field in data['connect']
        if 'lesion' in field
    }


def test_lesions_reach_all_that_looks_at_a_scan_and_nothing_is_there_without(made):
    settings, template, unit_of = made
    assert not wires(init_space_wf(unit=unit_of('01'), template=template, settings=settings))
    ill = draw_lesion(settings, '01')
    looks = {('normalisation_wf.affine', 'moving_lesion'), ('normalisation_wf.register', 'moving_lesion')}
    looks |= {('normalisation_wf.measure', 'scan_lesion'), ('notes', 'lesion_method')}
    looks |= {(f'normalisation_wf.draw_{picture}', 'scan_lesion') for picture in SPACE_PICTURES}
    publishes = ('normalisation_wf.to_space_lesion', 'publish', 'lesion_images')
    alone = wires(init_space_wf(unit=unit_of('01'), template=template, settings=settings))
    masks = {('masking_wf.n4', 'lesion'), ('masking_wf.timing', 'lesion')}
    assert alone == {publishes, *(('masking_wf.lesion', *end) for end in looks | masks)}
    finish_pair(settings, '01')
    paired = wires(init_space_wf(unit=unit_of('01'), template=template, settings=settings))
    assert paired == {publishes, *(('lesion', *end) for end in looks)}
    (scan,) = settings.bids_dir.glob('sub-01/anat/*_T2w.nii.gz')
    name = scan.with_name('sub-01_space-T2w_label-lesion_roi.nii.gz')
    nb.save(nb.Nifti1Image(np.zeros(nb.load(scan).shape, np.uint8), nb.load(scan).affine), name)
    finish_pair(settings, '01')
    both = wires(init_space_wf(unit=unit_of('01'), template=template, settings=settings))
    assert both - paired == {('normalisation_wf.to_space_pair0_lesion', 'publish', 'pair0_lesion_images')}
    assert ill.any()


def test_a_ratio_goes_the_way_of_the_t1w_and_one_that_is_missing_costs_itself(made):
    settings, template, unit_of = made
    finish_pair(settings, '01')
    graph = expanded_graph(init_space_wf(unit=unit_of('01'), template=template, settings=settings))
    ways = {
        (source.name, goal.name)
        for source, goal, data in graph.edges(data=True)
        for _, field in data['connect']
        if field == 'transform' and 'to_space' in goal.name
    }
    assert ('register', 'to_space_pair0_ratio') in ways
    assert ('chain_pair0', 'to_space_pair0') in ways
    unit = unit_of('01')
    assert 'pair0_ratio_res-2' in normalisation_outputs(unit, settings.output_dir)
    none = replace(unit, rated=())
    assert not any('ratio' in name for name in names(init_space_wf(unit=none, template=template, settings=settings)))


@pytest.mark.slow  # the real solver
def test_a_person_with_a_pair_and_one_without_are_in_the_space(made, tmp_path):
    settings, template, unit_of = made
    ill = draw_lesion(settings, '01')
    draw_lesion(settings, '02')
    finish_pair(settings, '01')
    units = [unit_of('01'), unit_of('02')]
    config.update_config({'execution': {'crashdump_dir': str(tmp_path)}})
    workflow = init_spaces_wf(settings=settings, units=[(unit, template) for unit in units])
    workflow.base_dir = str(tmp_path / 'work')
    workflow.run()
    for unit in units:
        assert why_not_normalised(unit, settings) is None
        facts = read_normalisation_qc(unit, settings)
        assert facts['overlap']['mask_dice']['registered'] > 0.9
        lesion = unit.reference.lesions[0].path
        assert lesion.name in facts['lesion_method']
        voxel = np.prod(nb.load(lesion).header.get_zooms()) / 1000
        assert facts['lesions']['scan_ml'] == pytest.approx(ill.sum() * voxel, rel=1e-3)
        sources = read_json(sidecar(normalisation_outputs(unit, settings.output_dir)['forward']))['Sources']
        assert any(lesion.name in source for source in sources)
    paths = normalisation_outputs(units[0], settings.output_dir)
    others_read(paths, tmp_path)
    ratio = nb.load(paths['pair0_ratio_res-2'])
    values = ratio.get_fdata()
    np.testing.assert_allclose(values[values > 0], 1.5, rtol=1e-5)
    mask = nb.load(paths['mask_res-2']).get_fdata() > 0
    assert ((values > 0) == mask).mean() > 0.99
    lesion, whole = (nb.load(paths[key]) for key in ('lesion_res-2', 'image_res-2'))
    assert lesion.get_data_dtype() == np.uint8
    np.testing.assert_allclose(lesion.affine, whole.affine)
    moved = Deformation.load(paths['forward'], paths['inverse'])
    grid, native = Grid(whole.shape, whole.affine), nb.load(units[0].reference.scan.path)
    places = moved.points(grid.to_world(np.stack(np.indices(grid.shape), -1).reshape(-1, 3)))
    at = np.round(Grid(native.shape, native.affine).to_voxels(places)).astype(int)
    seen = ((at >= 0) & (at < native.shape)).all(1)
    there = np.zeros(len(at), bool)
    there[seen] = ill[tuple(at[seen].T)]
    assert there.any()
    assert (there == (lesion.get_fdata().ravel() > 0)).mean() > 0.999
    own, along = (nb.load(paths[key]) for key in ('image_res-2', 'pair0_image_res-2'))
    np.testing.assert_allclose(own.affine, along.affine)
    first, both = (Deformation.load(paths[start + 'forward'], paths[start + 'inverse']) for start in ('', 'pair0_'))
    points = np.random.default_rng(0).uniform(-35, 35, (50, 3))
    assert np.linalg.norm(first.points(points) - both.points(points), axis=1).max() < 0.3, 'the pair moves nothing'
    assert why_not_normalised(replace(units[0], stamp='other'), settings) is not None
    units[0].reference.lesions[0].path.unlink()
    assert why_not_normalised(unit_of('01'), settings) is not None, 'without its lesion it is another one'
