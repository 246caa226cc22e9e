"""Who is normalised by which scan, how the files are called, and when it is done."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bidsreg.bids.lesions import Lesion
from bidsreg.bids.names import DESCRIPTIONS, ratio_path
from bidsreg.bids.normalisations import (
    Normalisation,
    Reference,
    find_references,
    finished_pairs,
    normalisation_fingerprint,
    normalisation_outputs,
    pairs_with_ratio,
    ratios_of,
    stale_outputs,
)
from bidsreg.bids.pairs import find_pairs
from bidsreg.bids.ratios import publish_ratio
from bidsreg.bids.scans import Scan
from bidsreg.bids.spaces import Space
from bidsreg.settings import Settings
from tests.fake_ratios import MADE
from tests.planning import dataset


def references(root: Path, *names: str, **options) -> list[str]:
    dataset(root / 'raw', *names)
    settings = Settings(bids_dir=root / 'raw', output_dir=root / 'out', **options)
    return [found.scan.path.name.partition('.')[0] for found in find_references(find_pairs(settings), settings)]


def unit(space: Space | None = None, suffix: str = 'T1w', pairs=(), **entities) -> Normalisation:
    space = space or Space('A')
    scan = Scan(Path(f'/raw/sub-01_{suffix}.nii.gz'), suffix, {'subject': '01', **entities})
    return Normalisation(Reference(scan, 'why'), space, 'stamp', 'somewhere', (Path('/t/T1w.nii.gz'),), pairs)


@pytest.mark.parametrize(
    ('names', 'found'),
    [
        (['sub-01_T1w', 'sub-01_T2w'], ['sub-01_T1w']),
        (['sub-01_T1w'], ['sub-01_T1w']),
        (['sub-01_T2w'], ['sub-01_T2w']),
        # one T1w with two T2w is one reference
        (['sub-01_T1w', 'sub-01_acq-a_T2w', 'sub-01_acq-b_T2w'], ['sub-01_T1w']),
        # two T1w, of which no pair needs one: the first
        (['sub-01_run-1_T1w', 'sub-01_run-2_T1w'], ['sub-01_run-1_T1w']),
        # a session with a pair, one with a T1w alone, one with a T2w alone, whose person has a T1w
        (
            ['sub-01_ses-1_T1w', 'sub-01_ses-1_T2w', 'sub-01_ses-2_T1w', 'sub-01_ses-3_T2w'],
            ['sub-01_ses-1_T1w', 'sub-01_ses-2_T1w'],
        ),
        (['sub-01_ses-1_T2w', 'sub-01_ses-2_T2w'], ['sub-01_ses-1_T2w', 'sub-01_ses-2_T2w']),
        # a UNIT1 is taken where there is no T1w
        (['sub-01_UNIT1', 'sub-01_T1w'], ['sub-01_T1w']),
        (['sub-01_UNIT1'], ['sub-01_UNIT1']),
        (['sub-01_T1w', 'sub-02_T2w'], ['sub-01_T1w', 'sub-02_T2w']),
        # no scan of its own
        (['sub-01_desc-x_T1w', 'sub-01_T2w'], ['sub-01_T2w']),
    ],
)
def test_the_scans_by_which_people_are_normalised(names, found, tmp_path):
    assert references(tmp_path, *names) == found


def test_a_pair_across_sessions_keeps_its_t1w(tmp_path):
    names = ['sub-01_ses-1_T1w', 'sub-01_ses-2_T2w']
    assert references(tmp_path, *names, pairing='subject', session_label=('2',)) == ['sub-01_ses-1_T1w']
    assert references(tmp_path, *names, session_label=('1',)) == ['sub-01_ses-1_T1w']


@pytest.mark.parametrize('reference', ['T1w', 'T2w'])
@pytest.mark.parametrize(
    'names',
    [
        ['sub-01_ses-1_T2w', 'sub-01_ses-2_T1w'],
        ['sub-01_ses-1_T1w', 'sub-01_ses-2_T2w', 'sub-01_ses-3_T1w'],
        ['sub-01_ses-1_T2w', 'sub-01_ses-2_run-1_T1w', 'sub-01_ses-2_run-2_T1w'],
    ],
)
def test_no_file_is_written_by_two_normalisations(tmp_path, names, reference):
    dataset(tmp_path / 'raw', *names)
    moving = {'T1w': ('T2w',), 'T2w': ('T1w',)}[reference]
    settings = Settings(
        bids_dir=tmp_path / 'raw',
        output_dir=tmp_path / 'out',
        pairing='subject',
        reference=reference,
        modalities=moving,
    )
    plan = find_pairs(settings)
    assert plan.pairs
    written: dict[Path, str] = {}
    for found in find_references(plan, settings):
        pairs = tuple(pair for pair in plan.pairs if pair.fixed == found.scan.path)
        one = Normalisation(found, Space('A'), 'stamp', 'somewhere', (), pairs)
        for path in normalisation_outputs(one, settings.output_dir).values():
            assert path not in written, (path.name, written[path], one.name)
            written[path] = one.name


def test_names_of_files():
    paths = normalisation_outputs(unit(Space('MNIInfant', 2, (1, 2)), session='1'), Path('/o'))
    start = Path('/o/sub-01/ses-1/anat')
    assert paths == {
        'forward': start / 'sub-01_ses-1_from-T1w_to-MNIInfant+2_mode-image_xfm.h5',
        'inverse': start / 'sub-01_ses-1_from-MNIInfant+2_to-T1w_mode-image_xfm.h5',
        'jacobian': start / 'sub-01_ses-1_from-T1w_to-MNIInfant+2_mode-image_desc-jacobian_xfm.nii.gz',
        'image_res-1': start / 'sub-01_ses-1_space-MNIInfant_cohort-2_res-1_desc-preproc_T1w.nii.gz',
        'mask_res-1': start / 'sub-01_ses-1_space-MNIInfant_cohort-2_res-1_desc-brain_mask.nii.gz',
        'image_res-2': start / 'sub-01_ses-1_space-MNIInfant_cohort-2_res-2_desc-preproc_T1w.nii.gz',
        'mask_res-2': start / 'sub-01_ses-1_space-MNIInfant_cohort-2_res-2_desc-brain_mask.nii.gz',
        'preproc': start / 'sub-01_ses-1_desc-preproc_T1w.nii.gz',
        'brain': start / 'sub-01_ses-1_desc-brain_mask.nii.gz',
        'qc': start / 'sub-01_ses-1_space-MNIInfant_cohort-2_desc-normalisation_qc.json',
    }
    assert list(paths)[-1] == 'qc'
    alone = normalisation_outputs(unit(suffix='T2w'), Path('/o'))
    assert alone['image'].name == 'sub-01_space-A_desc-preproc_T2w.nii.gz'
    assert alone['brain'].name == 'sub-01_space-T2w_desc-brain_mask.nii.gz'


def test_moving_scans_of_pairs_are_brought_along(pair):
    paths = normalisation_outputs(unit(pairs=(pair,)), Path('/o'))
    start = Path('/o/sub-02/ses-2/anat')
    assert 'preproc' not in paths
    assert paths['pair0_forward'] == start / 'sub-02_ses-2_from-T2w_to-A_mode-image_xfm.h5'
    assert paths['pair0_inverse'] == start / 'sub-02_ses-2_from-A_to-T2w_mode-image_xfm.h5'
    assert paths['pair0_image'] == start / 'sub-02_ses-2_space-A_desc-preproc_T2w.nii.gz'


def test_ratios_and_lesions_are_brought_along(pair, settings):
    lesion = Lesion(Path('/raw/sub-02_label-lesion_roi.nii.gz'))
    one = unit(Space('A', None, (1, 2)), pairs=(replace(pair, moving_lesions=(lesion,)),))
    reference = replace(one.reference, lesions=(lesion,))
    one = replace(one, reference=reference, ratio='calibrated', rated=(0,))
    paths = normalisation_outputs(one, settings.output_dir)
    assert {key: paths[key].name for key in ('lesion_res-2', 'pair0_lesion_res-1', 'pair0_ratio_res-2')} == {
        'lesion_res-2': 'sub-01_space-A_res-2_label-lesion_desc-T1w_mask.nii.gz',
        'pair0_lesion_res-1': 'sub-02_ses-2_space-A_res-1_label-lesion_desc-T2w_mask.nii.gz',
        'pair0_ratio_res-2': 'sub-02_ses-2_space-A_res-2_desc-calibrated_T1wT2wratio.nii.gz',
    }
    native = ratio_path(pair.entities, settings.output_dir, 'calibrated')
    assert ratios_of(one, settings.output_dir) == {'pair0_ratio': native}
    for label in ('T1w', 'T2w'):
        assert label in DESCRIPTIONS
    turned = replace(one.reference, scan=replace(one.reference.scan, suffix='T2w'))
    on = {key: one.on_reference for key, one in replace(one, reference=turned).carried.items()}
    assert on == {'pair0_ratio': False, 'lesion': True, 'pair0_lesion': False}, 'the T1w is the moving scan there'


def test_a_ratio_that_is_not_there_costs_itself_alone(pair, settings, finish, tmp_path):
    settings = replace(settings, ratio='uncalibrated')
    assert pairs_with_ratio((pair,), settings) == ()
    finish(pair, settings)
    assert pairs_with_ratio((pair,), settings) == ()
    path = tmp_path / 'ratio.nii.gz'
    nib.save(nib.Nifti1Image(np.ones((3, 3, 3), np.float32), np.eye(4)), path)
    publish_ratio(path, pair, settings, {**MADE, 'kind': 'uncalibrated'}, {}, {})
    assert pairs_with_ratio((pair,), settings) == (0,)
    assert pairs_with_ratio((pair,), replace(settings, random_seed=1)) == (), 'of other settings'
    assert pairs_with_ratio((replace(pair, is_uni=True),), settings) == ()
    assert pairs_with_ratio((pair,), replace(settings, ratio='none')) == ()


def test_what_an_earlier_run_has_left_and_is_no_more_is_known(pair, tmp_path):
    one = replace(unit(Space('A', None, (1,)), pairs=(pair,)), ratio='calibrated', rated=(0,))
    anat = tmp_path / 'sub-02/ses-2/anat'
    anat.mkdir(parents=True)
    stale = [
        anat / f'sub-02_ses-2_space-A{grid}_{end}.nii.gz'
        for grid in ('', '_res-1', '_res-3')
        for end in ('desc-uncalibrated_T1wT2wratio', 'label-lesion_desc-T2w_mask')
    ]
    kept = [
        anat / f'sub-02_ses-2_space-{name}_res-2_desc-{desc}_T1wT2wratio.nii.gz'
        for name, desc in (('A', 'calibrated'), ('AB', 'uncalibrated'))
    ]
    for path in (*stale, *kept):
        path.write_text('')
    assert stale_outputs(one, tmp_path) == set(stale)


def test_names_are_unlike_each_other_and_those_of_pairs(pair):
    names = {
        one.name
        for one in (
            unit(),
            unit(suffix='T2w'),
            unit(Space('B')),
            unit(Space('A', 1)),
            unit(Space('A', 2)),
            unit(run='1'),
        )
    }
    assert len(names) == 6
    assert pair.name not in names
    assert unit(Space('A', 1)).node_name != unit(Space('A1')).node_name
    assert unit(Space('A', 1)).node_name.replace('_', '').isalnum()


def test_only_finished_pairs_of_the_scan_count(pair, settings, finish):
    plan = find_pairs(settings)
    (reference,) = (found for found in find_references(plan, settings) if found.scan.path == pair.fixed)
    assert finished_pairs(reference, plan, settings) == ()
    finish(pair, settings)
    assert [found.name for found in finished_pairs(reference, plan, settings)] == [pair.name]


def test_the_fingerprint_is_of_settings_and_template_not_of_resolutions(settings):
    one = normalisation_fingerprint(unit(), settings)
    assert one == normalisation_fingerprint(unit(Space('A', None, (1, 2))), settings)
    assert one != normalisation_fingerprint(replace(unit(), stamp='other'), settings)
    assert one != normalisation_fingerprint(unit(), replace(settings, random_seed=1))
    assert one == normalisation_fingerprint(unit(), replace(settings, output_spaces=('MNI',)))
