"""Scans of other contrasts than T2w beside or in the place of it: pairs, names, sidecars, and what is refused."""

from __future__ import annotations

import json

import pytest

from bidsreg.bids.dataset import write_dataset_files
from bidsreg.bids.names import PRODUCTS, Contrasts, pair_name, pair_outputs, parse_pair_name, sidecar
from bidsreg.bids.pairs import find_pairs, plan_table
from bidsreg.bids.publish import is_complete, read_qc, why_incomplete
from bidsreg.bids.sidecars import sidecars
from bidsreg.errors import InputError
from bidsreg.settings import CHOICES, Settings
from tests import data
from tests.planning import names, plan, reasons

BOTH = ('T2w', 'FLAIR')


def test_t2w_and_flair_are_two_pairs_with_one_t1w(tmp_path):
    found = plan(tmp_path, 'sub-01_T1w', 'sub-01_T2w', 'sub-01_FLAIR', modalities=BOTH)
    assert names(found) == [('sub-01_T1w', 'sub-01_FLAIR'), ('sub-01_T1w', 'sub-01_T2w')]
    flair, t2w = found.pairs
    assert (flair.name, t2w.name) == ('sub-01_from-FLAIR_to-T1w', 'sub-01')
    assert (flair.node_name, t2w.node_name) == ('pair_sub_01_from_FLAIR_to_T1w', 'pair_sub_01')
    assert (flair.fixed_contrast, flair.moving_contrast) == ('T1w', 'FLAIR')
    assert not found.left_out
    assert not found.notes


def test_what_nobody_asked_for_is_not_registered(tmp_path):
    files = ('sub-01_T1w', 'sub-01_T2w', 'sub-01_FLAIR')
    assert plan(tmp_path, *files).pairs == plan(tmp_path, *files[:2]).pairs
    alone = plan(tmp_path, *files, modalities=('FLAIR',))
    assert names(alone) == [('sub-01_T1w', 'sub-01_FLAIR')]
    assert list(plan_table(alone).columns) == ['subject', 'session', 't1w', 'flair', 'decision', 'reason']


@pytest.mark.parametrize('modality', [one for one in CHOICES['modalities'] if one != 'T1w'])
def test_names_follow_from_the_contrast(tmp_path, modality):
    found = plan(tmp_path, 'sub-01_ses-a_T1w', f'sub-01_ses-a_run-2_{modality}', modalities=(modality,))
    (pair,) = found.pairs
    told = '' if modality == 'T2w' else f'_from-{modality}_to-T1w'
    stem = 'sub-01_ses-a_run-2'
    assert {key: path.name for key, path in pair_outputs(pair, tmp_path).items()} == {
        'fixed_preproc': 'sub-01_ses-a_desc-preproc_T1w.nii.gz',
        'fixed_mask': 'sub-01_ses-a_desc-brain_mask.nii.gz',
        'moving_mask': f'{stem}_space-{modality}_desc-brain_mask.nii.gz',
        'moving_in_fixed': f'{stem}_space-T1w_desc-preproc_{modality}.nii.gz',
        'moving_preproc': f'{stem}_desc-preproc_{modality}.nii.gz',
        'fixed_in_moving': f'{stem}_space-{modality}_desc-preproc_T1w.nii.gz',
        'jacobian': f'{stem}_from-{modality}_to-T1w_mode-image_desc-jacobian_xfm.nii.gz',
        'forward_xfm': f'{stem}_from-{modality}_to-T1w_mode-image_xfm.h5',
        'inverse_xfm': f'{stem}_from-T1w_to-{modality}_mode-image_xfm.h5',
        'affine_xfm': f'{stem}_from-{modality}_to-T1w_mode-image_desc-affine_xfm.tfm',
        'qc': f'{stem}{told}_desc-registration_qc.json',
    }
    assert pair.name == stem + told
    assert parse_pair_name(pair.name) == (pair.entities, pair.contrasts)


def test_no_two_pairs_share_more_than_the_fixed_scan(tmp_path):
    """Whatever the entities: T2w and FLAIR of one name, and a T2w whose labels look like a contrast."""
    files = ['T1w', 'T2w', 'FLAIR', 'PDw', 'acq-FLAIR_T2w', 'rec-T1w_FLAIR', 'run-1_PDw', 'mod-FLAIR_T2w']
    found = plan(tmp_path, *(f'sub-01_{name}' for name in files), modalities=(*BOTH, 'PDw'))
    assert len(found.pairs) == len({pair.name for pair in found.pairs}) == len({p.node_name for p in found.pairs}) == 7
    own = [key for key, product in PRODUCTS.items() if product.of == 'moving']
    every = [pair_outputs(pair, tmp_path)[key] for pair in found.pairs for key in own]
    assert len(every) == len(set(every)) == 7 * len(own)


def test_a_flair_without_a_t1w_says_why(tmp_path):
    found = plan(tmp_path, 'sub-01_T2w', 'sub-01_FLAIR', 'sub-02_T1w', 'sub-02_FLAIR', modalities=BOTH)
    assert reasons(found)['sub-01_FLAIR'] == 'the subject has no T1w to register it to'
    assert found.subjects_without_pair == {'01': 'only FLAIR and T2w, no T1w'}
    assert names(found) == [('sub-02_T1w', 'sub-02_FLAIR')]
    (row,) = plan_table(found).query('flair == "sub-01_FLAIR.nii.gz"').to_dict('records')
    assert (row['decision'], row['t1w'], row['t2w']) == ('left out', '', '')


def test_who_lacks_one_of_the_modalities_is_told(tmp_path):
    files = ('sub-01_T1w', 'sub-01_T2w', 'sub-02_T1w', 'sub-02_FLAIR', 'sub-03_T1w')
    found = plan(tmp_path, *files, modalities=BOTH)
    assert [note.reason for note in found.notes] == ['sub-01 has no FLAIR', 'sub-02 has no T2w']
    assert found.subjects_without_pair == {'03': 'only T1w, no T2w and no FLAIR'}
    assert list(plan_table(found)['decision']) == ['note', 'register', 'note', 'register', 'left out', 'no pair']
    found = plan(tmp_path, *files, modalities=BOTH, participant_label=('01',))  # somebody else has a FLAIR
    assert [note.reason for note in found.notes] == ['sub-01 has no FLAIR']


def test_a_modality_that_nobody_has(tmp_path):
    with pytest.raises(InputError, match=r'--modalities PDw: nobody in .*raw has a PDw'):
        plan(tmp_path, 'sub-01_T1w', 'sub-01_T2w', modalities=('T2w', 'PDw'))
    assert plan(tmp_path / 'other', 'sub-01_T1w').subjects_without_pair == {'01': 'only T1w, no T2w'}


@pytest.mark.parametrize('wrong', ['flair', 'bold', 'UNIT1', ''])
def test_a_suffix_that_is_no_modality(tmp_path, wrong):
    with pytest.raises(InputError, match=r'--modalities .*choose from T1w, T2w, FLAIR'):
        Settings(bids_dir=tmp_path, output_dir=tmp_path, modalities=('T2w', wrong))


def test_filters_speak_of_every_modality(tmp_path):
    files = ('sub-01_T1w', 'sub-01_T2w', 'sub-01_acq-2d_FLAIR', 'sub-01_acq-3d_FLAIR')
    found = plan(tmp_path, *files, modalities=BOTH, bids_filters={'flair': {'acquisition': '3d'}})
    assert names(found) == [('sub-01_T1w', 'sub-01_T2w'), ('sub-01_T1w', 'sub-01_acq-3d_FLAIR')]
    assert reasons(found)['sub-01_acq-2d_FLAIR'] == '--bids-filter-file: does not match flair acquisition=3d'
    with pytest.raises(InputError, match="the key 'flair' is not used here; t1w and t2w are"):
        plan(tmp_path, *files, bids_filters={'flair': {'acquisition': '3d'}})


def test_masks_of_the_user_belong_to_their_contrast(tmp_path):
    data.write_dataset(tmp_path / 'raw', {'01': {None: ['T1w', 'T2w', 'FLAIR']}})
    for space in ('T2w', 'FLAIR'):
        image = tmp_path / f'raw/sub-01/anat/sub-01_{space}.nii.gz'
        goal = tmp_path / f'masks/sub-01/anat/sub-01_space-{space}_desc-brain_mask.nii.gz'
        goal.parent.mkdir(parents=True, exist_ok=True)
        goal.write_bytes(image.read_bytes())
    derivatives = (tmp_path / 'masks',)
    settings = Settings(
        bids_dir=tmp_path / 'raw', output_dir=tmp_path / 'out', modalities=BOTH, derivatives=derivatives
    )
    for pair in find_pairs(settings).pairs:
        assert pair.moving_mask is not None
        assert f'space-{pair.moving_contrast}_' in pair.moving_mask.name
        assert pair.fixed_mask is None


@pytest.fixture
def two(tmp_path):
    """A session with T2w and FLAIR, and its two pairs by their moving contrasts."""
    raw = data.write_dataset(tmp_path / 'raw', {'01': {None: ['T1w', 'T2w', 'FLAIR']}})
    settings = Settings(bids_dir=raw, output_dir=tmp_path / 'out', work_dir=tmp_path / 'work', modalities=BOTH)
    return settings, {pair.moving_contrast: pair for pair in find_pairs(settings).pairs}


def test_what_a_t2w_leaves_does_not_depend_on_a_flair(two, finish):
    """Names and bytes of a T1w and T2w are those of a run that knows of nothing else."""
    settings, pairs = two
    alone = Settings(bids_dir=settings.bids_dir, output_dir=settings.output_dir, work_dir=settings.work_dir)
    (pair,) = find_pairs(alone).pairs
    assert pair == pairs['T2w']
    assert settings.fingerprint() == alone.fingerprint()
    finish(pair, alone, mask_method='deepbet')
    before = data.files_below(settings.output_dir)
    finish(pairs['FLAIR'], settings, mask_method='deepbet')
    after = data.files_below(settings.output_dir)
    assert {name: after[name] for name in before} == before
    assert is_complete(pair, alone)
    assert is_complete(pairs['FLAIR'], settings)


def test_both_pairs_say_the_same_of_their_t1w(two):
    settings, pairs = two
    facts = {'mask_method': 'deepbet', 't1w_skull_stripped': True}
    texts = [sidecars(pairs[contrast], settings, facts) for contrast in BOTH]
    for key in ('fixed_preproc', 'fixed_mask'):
        assert texts[0][key] == texts[1][key]


def test_sidecars_speak_of_the_flair(two, finish):
    settings, pairs = two
    finish(pairs['FLAIR'], settings, flair_skull_stripped=True)
    outputs = pair_outputs(pairs['FLAIR'], settings.output_dir)
    told = {key: sidecar(path).read_text() for key, path in outputs.items() if key != 'qc'}
    assert 'T2w' not in ''.join(told.values())
    assert json.loads(told['moving_in_fixed'])['Description'].startswith('The FLAIR on the grid of the T1w')
    assert json.loads(told['moving_in_fixed'])['SkullStripped'] is True
    assert json.loads(told['fixed_in_moving'])['SkullStripped'] is False
    assert read_qc(pairs['FLAIR'], settings)['pair'] == 'sub-01_from-FLAIR_to-T1w'


def test_the_dataset_names_its_contrasts(two):
    settings, _ = two
    write_dataset_files(settings, {})
    described = json.loads((settings.output_dir / 'dataset_description.json').read_text())
    assert described['Name'] == 'bidsreg: T1w/T2w/FLAIR registration of Synthetic heads'
    readme = (settings.output_dir / 'README').read_text()
    assert 'sub-01_from-FLAIR_to-T1w_desc-registration_qc.json' in readme
    assert '  sub-01_desc-registration_qc.json ' in readme


def test_names_are_taken_apart():
    assert parse_pair_name('sub-01_ses-a_run-2') == ({'subject': '01', 'session': 'a', 'run': '2'}, Contrasts())
    assert parse_pair_name('sub-01_from-T1w_to-T2w') == ({'subject': '01'}, Contrasts('T2w', 'T1w'))
    assert pair_name({'run': '2', 'subject': '01'}, Contrasts('T2w', 'FLAIR')) == 'sub-01_run-2_from-FLAIR_to-T2w'


# ------------------------------------------------------------------------------------------------- another reference
def test_the_reference_decides_what_is_usual(tmp_path):
    places = {'bids_dir': tmp_path, 'output_dir': tmp_path}
    assert Settings(**places).contrasts == ('T1w', 'T2w')
    assert Settings(**places, reference='T2w').contrasts == ('T2w', 'T1w')
    assert Settings(**places, reference='T2w', modalities=('PDw',)).contrasts == ('T2w', 'PDw')
    assert Settings(**places).fingerprint() != Settings(**places, reference='T2w').fingerprint()


@pytest.mark.parametrize(('reference', 'modalities'), [('T1w', ('T2w', 'T1w')), ('T2w', ('T2w',))])
def test_nothing_is_registered_to_itself(tmp_path, reference, modalities):
    with pytest.raises(
        InputError, match=f'--modalities {reference}: the {reference} is what the others are registered'
    ):
        Settings(bids_dir=tmp_path, output_dir=tmp_path, reference=reference, modalities=modalities)
    with pytest.raises(InputError, match=r'--reference .*choose from T1w, T2w'):
        Settings(bids_dir=tmp_path, output_dir=tmp_path, reference='FLAIR')


def test_a_t2w_stays_fixed(tmp_path):
    files = ('sub-01_run-1_T1w', 'sub-01_T2w', 'sub-01_FLAIR', 'sub-02_T1w', 'sub-03_ses-1_T2w', 'sub-03_ses-2_T1w')
    found = plan(tmp_path, *files, reference='T2w', modalities=('T1w', 'FLAIR'))
    assert names(found) == [('sub-01_T2w', 'sub-01_FLAIR'), ('sub-01_T2w', 'sub-01_run-1_T1w')]
    flair, t1w = found.pairs
    assert (flair.name, t1w.name) == ('sub-01_from-FLAIR_to-T2w', 'sub-01_run-1_from-T1w_to-T2w')
    assert t1w.reason == 'the only T2w of the subject'
    assert {key: path.name for key, path in pair_outputs(t1w, tmp_path).items()} == {
        'fixed_preproc': 'sub-01_desc-preproc_T2w.nii.gz',
        'fixed_mask': 'sub-01_space-T2w_desc-brain_mask.nii.gz',
        'moving_mask': 'sub-01_run-1_desc-brain_mask.nii.gz',
        'moving_in_fixed': 'sub-01_run-1_space-T2w_desc-preproc_T1w.nii.gz',
        'moving_preproc': 'sub-01_run-1_desc-preproc_T1w.nii.gz',
        'fixed_in_moving': 'sub-01_run-1_space-T1w_desc-preproc_T2w.nii.gz',
        'jacobian': 'sub-01_run-1_from-T1w_to-T2w_mode-image_desc-jacobian_xfm.nii.gz',
        'forward_xfm': 'sub-01_run-1_from-T1w_to-T2w_mode-image_xfm.h5',
        'inverse_xfm': 'sub-01_run-1_from-T2w_to-T1w_mode-image_xfm.h5',
        'affine_xfm': 'sub-01_run-1_from-T1w_to-T2w_mode-image_desc-affine_xfm.tfm',
        'qc': 'sub-01_run-1_from-T1w_to-T2w_desc-registration_qc.json',
    }
    assert (
        reasons(found)['sub-03_ses-2_T1w']
        == 'no T2w in its session; --pairing subject would take one of another session'
    )
    assert reasons(found)['sub-03_ses-1_T2w'] == 'no T1w and no FLAIR in its session to register to it'
    assert found.subjects_without_pair['02'] == 'only T1w, no T2w'
    table = plan_table(found)
    assert list(table.columns) == ['subject', 'session', 't2w', 't1w', 'flair', 'reference', 'decision', 'reason']
    assert set(table['reference']) == {'T2w'}


def test_a_uni_image_is_registered_to_nothing(tmp_path):
    found = plan(tmp_path, 'sub-01_UNIT1', 'sub-01_T2w', reference='T2w')
    assert not found.pairs
    assert reasons(found)['sub-01_UNIT1'] == 'a UNIT1 is registered to nothing: other scans are registered to it'


def test_a_mask_of_the_t1w_is_none_of_the_t2w(tmp_path):
    """fMRIPrep's mask has no space in its name: where there is a T1w it is that one's, asked for or not."""
    data.write_dataset(tmp_path / 'raw', {'01': {None: ['T1w', 'T2w', 'FLAIR']}})
    mask = tmp_path / 'masks/sub-01/anat/sub-01_desc-brain_mask.nii.gz'
    mask.parent.mkdir(parents=True)
    mask.write_bytes((tmp_path / 'raw/sub-01/anat/sub-01_T2w.nii.gz').read_bytes())
    options = {'bids_dir': tmp_path / 'raw', 'output_dir': tmp_path / 'out', 'derivatives': (tmp_path / 'masks',)}
    (pair,) = find_pairs(Settings(**options, reference='T2w', modalities=('FLAIR',))).pairs
    assert pair.fixed_mask is None
    (tmp_path / 'raw/sub-01/anat/sub-01_T1w.nii.gz').unlink()
    (pair,) = find_pairs(Settings(**options, reference='T2w', modalities=('FLAIR',))).pairs
    assert pair.fixed_mask is None  # a FLAIR of that name is there as well
    mask.rename(mask.with_name('sub-01_space-T2w_desc-brain_mask.nii.gz'))
    (pair,) = find_pairs(Settings(**options, reference='T2w', modalities=('FLAIR',))).pairs
    assert pair.fixed_mask is not None


def test_runs_with_two_references_know_of_each_other(two, finish):
    """Files of one name are of another making: what the other run has rewritten is done again."""
    settings, pairs = two
    other = Settings(
        bids_dir=settings.bids_dir, output_dir=settings.output_dir, work_dir=settings.work_dir, reference='T2w'
    )
    (turned,) = find_pairs(other).pairs
    finish(pairs['T2w'], settings)
    assert is_complete(pairs['T2w'], settings)
    finish(turned, other)
    assert is_complete(turned, other)
    assert read_qc(pairs['T2w'], settings) is None, 'its verdict would be of files that are not there any more'
    assert why_incomplete(pairs['T2w'], settings) == 'not done yet'
    finish(pairs['T2w'], settings)
    assert read_qc(turned, other) is None
    assert is_complete(pairs['T2w'], settings)
    finish(pairs['FLAIR'], settings)
    assert is_complete(pairs['T2w'], settings), 'another contrast takes nothing'
