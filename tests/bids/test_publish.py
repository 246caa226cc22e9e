"""Files come into their places complete or not at all, and a pair is complete when all of them are there."""

from __future__ import annotations

import gzip
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bidsreg.bids.lesions import Lesion
from bidsreg.bids.names import (
    PRODUCTS,
    RATIO_KINDS,
    Contrasts,
    affine_path,
    figure_path,
    lesion_path,
    pair_outputs,
    partial_path,
    ratio_path,
    sidecar,
)
from bidsreg.bids.pairs import find_pairs
from bidsreg.bids.publish import clear_left_behind, copy_packed, is_complete, publish, read_qc, why_incomplete
from bidsreg.bids.sidecars import read_json
from bidsreg.registration.atomic import hidden_name
from tests.fake_app import fake_files


def test_publish_and_complete(pair, settings, finish):
    assert why_incomplete(pair, settings) == 'not done yet'
    finish(pair, settings, numbers=np.float32(0.5), mask_method='deepbet')
    assert is_complete(pair, settings)
    for key, path in pair_outputs(pair, settings.output_dir).items():
        assert path.stat().st_size > 0
        assert key == 'qc' or sidecar(path).is_file()
    qc = read_qc(pair, settings)
    assert qc['numbers'] == 0.5
    assert qc['fingerprint'] == settings.fingerprint()
    assert set(qc['sources']) == {
        'bids:raw:sub-02/ses-1/anat/sub-02_ses-1_run-1_T1w.nii.gz',
        'bids:raw:sub-02/ses-2/anat/sub-02_ses-2_T2w.nii.gz',
    }
    assert figure_path(pair.entities, settings.output_dir, 'diffeo').is_file()
    assert not list((settings.output_dir / '.bidsreg' / 'tmp').iterdir())


@pytest.mark.parametrize('sloppy', [True, False])
def test_what_was_made_in_a_hurry_says_so(pair, settings, finish, sloppy):
    settings = replace(settings, sloppy=sloppy)
    finish(pair, settings)
    assert read_qc(pair, settings).get('sloppy') == (sloppy or None)


def test_lesions_are_published_with_what_they_are_from(pair, settings):
    """Of either scan, beside the rest; and a pair that had some is not complete without them."""
    files = fake_files(pair, settings.work_dir / pair.name)
    drawn = settings.bids_dir / 'sub-02/ses-2/anat/sub-02_ses-2_space-T2w_label-lesion_roi.nii.gz'
    shutil.copy(files['moving_mask'], drawn)
    ill = replace(pair, moving_lesions=(Lesion(drawn),))
    facts = {'lesions': {'moving': 2.5}, 'moving_lesion_method': '2.5 ml left out'}
    publish(files, ill, settings, facts, lesions={'moving': files['moving_mask']})
    path = lesion_path(pair.entities, settings.output_dir, 'moving', pair.contrasts)
    assert path.name == 'sub-02_ses-2_space-T2w_label-lesion_mask.nii.gz'
    assert path.read_bytes() == files['moving_mask'].read_bytes()
    told = read_json(sidecar(path))
    uri = 'bids:raw:sub-02/ses-2/anat/sub-02_ses-2_space-T2w_label-lesion_roi.nii.gz'
    assert told['Sources'] == [uri]
    assert (told['Type'], told['Method']) == ('Lesion', '2.5 ml left out')
    outputs = pair_outputs(pair, settings.output_dir)
    for key in ('moving_preproc', 'forward_xfm', 'affine_xfm'):
        assert uri in read_json(sidecar(outputs[key]))['Sources']
    assert 'not estimated from its lesions' in read_json(sidecar(outputs['moving_preproc']))['Description']
    assert 'lesions' not in read_json(sidecar(outputs['fixed_preproc']))['Description']
    assert is_complete(ill, settings)
    path.unlink()
    assert why_incomplete(ill, settings) == f'{path.name} is missing'
    # another drawing, and the pair is done again
    publish(files, ill, settings, facts, lesions={'moving': files['moving_mask']})
    drawn.write_bytes(drawn.read_bytes() + b'x')
    assert why_incomplete(ill, settings) == 'its source files have changed'
    assert why_incomplete(pair, settings) == 'its source files have changed', 'the lesion is gone'


def test_an_image_that_is_not_packed_is_packed(tmp_path):
    image = np.random.default_rng(0).bytes(10_000)
    (tmp_path / 'n4.nii').write_bytes(image)
    for name in ('one.nii.gz', 'two.nii.gz'):
        copy_packed(tmp_path / 'n4.nii', tmp_path / name)
    assert gzip.decompress((tmp_path / 'one.nii.gz').read_bytes()) == image
    assert (tmp_path / 'one.nii.gz').read_bytes() == (tmp_path / 'two.nii.gz').read_bytes()
    copy_packed(tmp_path / 'one.nii.gz', tmp_path / 'three.nii.gz')
    assert (tmp_path / 'one.nii.gz').read_bytes() == (tmp_path / 'three.nii.gz').read_bytes()


def test_what_makes_a_pair_incomplete(pair, settings, finish):
    finish(pair, settings)
    assert is_complete(pair, replace(settings, qc_thresholds='other.toml')), 'thresholds change no image'
    assert 'other settings' in why_incomplete(pair, replace(settings, random_seed=1))
    assert why_incomplete(pair, replace(settings, nprocs=1, run_uuid='other')) is None
    paths = pair_outputs(pair, settings.output_dir)
    for key in ('jacobian', 'qc'):
        content = paths[key].read_bytes()
        paths[key].write_bytes(b'')
        assert why_incomplete(pair, settings)
        paths[key].write_bytes(content)
    sidecar(paths['forward_xfm']).unlink()
    assert 'from-T2w_to-T1w_mode-image_xfm.json is missing' in why_incomplete(pair, settings)


def test_changed_source(pair, settings, finish):
    finish(pair, settings)
    with pair.moving.open('ab') as stream:
        stream.write(b'0')
    assert 'source files have changed' in why_incomplete(pair, settings)
    pair.moving.unlink()
    assert why_incomplete(pair, settings)


def test_a_shared_t1w_rewritten_with_other_settings(pairs, settings, finish):
    one, two = pairs['sub-01'], pairs['sub-01_acq-tse_run-2']
    finish(one, settings)
    finish(two, settings)
    assert is_complete(one, settings)
    finish(two, replace(settings, bias_correction='none'))
    assert 'rewritten with other settings' in why_incomplete(one, settings)


def test_a_moved_dataset_is_still_complete(pair, settings, tmp_path, finish):
    finish(pair, settings)
    moved = tmp_path / 'moved'
    shutil.copytree(settings.bids_dir, moved)  # keeps times
    elsewhere = replace(settings, bids_dir=moved)
    (pair,) = (item for item in find_pairs(elsewhere).pairs if item.name == pair.name)
    assert is_complete(pair, elsewhere)


def test_failing_to_publish_leaves_no_half_file(pair, settings, monkeypatch, finish):
    finish(pair, settings)
    files = fake_files(pair, settings.work_dir / 'again')
    before = pair_outputs(pair, settings.output_dir)['jacobian'].read_bytes()
    replaced = []

    def replace_some(one, two, real=os.replace):
        if 'jacobian_xfm.nii' in str(two):
            raise OSError(28, 'No space left on device')
        replaced.append(two)
        real(one, two)

    monkeypatch.setattr(os, 'replace', replace_some)
    with pytest.raises(OSError, match='No space left'):
        publish(files, pair, settings, {})
    assert replaced
    assert pair_outputs(pair, settings.output_dir)['jacobian'].read_bytes() == before
    assert why_incomplete(pair, settings) == 'not done yet'
    assert not list((settings.output_dir / '.bidsreg' / 'tmp').iterdir())


def test_publish_wants_everything(pair, settings):
    files = fake_files(pair, settings.work_dir / 'x')
    del files['jacobian']
    with pytest.raises(ValueError, match='jacobian'):
        publish(files, pair, settings, {})


def test_qc_comes_last(pair, settings, monkeypatch, finish):
    order = []
    real = os.replace
    monkeypatch.setattr(os, 'replace', lambda a, b: (order.append(Path(b).name), real(a, b)))
    finish(pair, settings)
    assert order[-1].endswith('_qc.json')
    assert sum(name.endswith('.json') for name in order[: len(PRODUCTS) - 1]) == len(PRODUCTS) - 1  # sidecars first


def test_partial_results_go_when_the_pair_is_done(pair, settings, finish):
    path = partial_path(pair.name, settings.output_dir)
    other = partial_path(f'{pair.name}0', settings.output_dir)
    path.parent.mkdir(parents=True)
    for partial in (path, other):
        partial.write_text('{}')
    finish(pair, settings)
    assert not path.exists()
    assert other.exists()


def test_what_killed_runs_left_is_removed_everywhere(settings):
    """Of processes that are no more: what other runs are writing stays."""
    out = settings.output_dir
    for folder in (out, out / 'logs', out / 'sub-01' / 'figures', out / '.bidsreg' / 'tmp'):
        folder.mkdir(parents=True, exist_ok=True)
        mine = hidden_name(folder / 'a.html')
        for path in (mine, mine.with_name(mine.name.replace(f'.{os.getpid()}.', '.4194305.'))):  # above Linux's limit
            path.touch()
    assert len(list(out.rglob('*a.html'))) == 8
    clear_left_behind(out)
    assert {path.name.split('.')[-4] for path in out.rglob('*a.html')} == {str(os.getpid())}
    assert len(list(out.rglob('*a.html'))) == 4


def test_a_pair_of_another_contrast_leaves_the_ratio_alone(pair, settings, tmp_path):
    """The name of a ratio has no contrast in it: that of a FLAIR with these entities is that of the T2w."""
    flair = replace(pair, contrasts=Contrasts('T1w', 'FLAIR'))
    ratio = ratio_path(pair.entities, settings.output_dir, RATIO_KINDS[0])
    assert ratio == ratio_path(flair.entities, settings.output_dir, RATIO_KINDS[0], flair.contrasts)
    for one in (pair, flair):
        publish(fake_files(one, tmp_path / one.name), one, settings, {})
        if one is pair:
            for file in (ratio, sidecar(ratio)):
                file.write_text('made')
    assert is_complete(flair, settings)
    assert ratio.read_text() == sidecar(ratio).read_text() == 'made'


def test_what_other_settings_made_does_not_stay_beside_a_new_transform(pair, settings, tmp_path):
    """An affine for FLIRT and a lesion, of a run with both, after a run that makes neither; what is made stays."""
    files = fake_files(pair, tmp_path / 'made')
    ends = ('fixed', 'moving')
    matrix, other = (affine_path(pair.entities, settings.output_dir, name) for name in ('fsl', 'lta'))
    ill = [lesion_path(pair.entities, settings.output_dir, end) for end in ends]
    facts = {'lesions': dict.fromkeys(ends, 2.0)}
    given = dict.fromkeys(ends, files['moving_mask'])

    def put(others, facts, **lesions):
        copies = dict.fromkeys(others, files['affine_xfm'])
        publish(files, pair, asked, facts, copies, lesions=lesions)

    asked = settings
    put([matrix, other], facts, **given)
    put([], facts, **given)  # the same transform
    assert matrix.is_file()
    assert other.is_file()
    asked = replace(settings, random_seed=1)
    put([other], {'lesions': {'moving': 2.0}}, moving=files['moving_mask'])
    assert not matrix.exists()
    assert other.is_file()
    assert not ill[0].exists()
    assert not sidecar(ill[0]).exists()
    assert ill[1].is_file()
    assert sidecar(ill[1]).is_file()
    assert is_complete(pair, asked)
