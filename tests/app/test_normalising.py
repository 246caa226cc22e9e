"""The second stage of a run: everybody with a scan, beside the pairs, which nothing in it can undo."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from bidsreg.bids.pairs import find_pairs
from bidsreg.bids.publish import is_complete
from bidsreg.settings import Settings
from tests import fake_ratios, fake_spaces
from tests.app_fixtures import begun, fails
from tests.templates.flow import write_template

SPACES = ['--output-spaces', 'Pretended:res-1:res-2']
END = '_desc-normalisation_qc.json'


@pytest.fixture
def app(app, tmp_path, monkeypatch):
    """Run the pretended app, with a pretended folder of TemplateFlow and pretended normalisations."""
    monkeypatch.setitem(sys.modules, 'bidsreg.workflows.space', fake_spaces)
    monkeypatch.setenv('TEMPLATEFLOW_HOME', str(tmp_path / 'templateflow'))
    write_template(tmp_path / 'templateflow', 'Pretended')
    return app


def done(out: Path) -> list[str]:
    return sorted(path.name.removesuffix(END) for path in out.glob(f'sub-*/anat/*{END}'))


def test_everybody_is_normalised_pairs_and_people_without_one(app, capsys, tmp_path):
    assert app(*SPACES) == 0
    assert done(tmp_path / 'out') == [f'sub-{subject}_space-Pretended' for subject in ('01', '02', '03')]
    anat = tmp_path / 'out' / 'sub-01' / 'anat'
    for name in (
        'sub-01_from-T1w_to-Pretended_mode-image_xfm.h5',
        'sub-01_from-Pretended_to-T1w_mode-image_xfm.h5',
        'sub-01_from-T2w_to-Pretended_mode-image_xfm.h5',
        'sub-01_space-Pretended_res-2_desc-preproc_T2w.nii.gz',
        'sub-01_space-Pretended_res-1_desc-brain_mask.nii.gz',
    ):
        assert (anat / name).is_file(), name
    assert (tmp_path / 'out/sub-03/anat/sub-03_desc-preproc_T1w.nii.gz').is_file()
    assert 'normalisations: 3 done' in capsys.readouterr().out
    assert 'sub-03_T1w_to-Pretended done' in (tmp_path / 'out' / 'report.txt').read_text()


def test_a_normalisation_that_is_done_and_a_fail_is_said(app, capsys, tmp_path):
    lenient, strict = tmp_path / 'lenient.toml', tmp_path / 'strict.toml'
    limits = '[space_edges]\ncheck_below = {0}\nfail_below = {0}\n'
    lenient.write_text(limits.format(-9))
    strict.write_text(limits.format(9))
    assert app(*SPACES, '--qc-thresholds', str(lenient)) == 0
    assert 'verdicts of normalisations: 3 PASS; look at ' in capsys.readouterr().out
    assert app(*SPACES, '--qc-thresholds', str(strict)) == 0
    told = capsys.readouterr().out
    assert 'FAIL: sub-03_T1w_to-Pretended: The edges of template and scan agree by only' in told
    assert 'verdicts of normalisations: 3 FAIL; look at ' in told


def test_once_more_does_nothing_and_another_resolution_only_that(app, capsys, tmp_path):
    assert app(*SPACES) == 0
    capsys.readouterr()
    assert app(*SPACES) == 0
    told = capsys.readouterr()
    assert 'normalisations: 3 already done' in told.out
    assert app('--output-spaces', 'Pretended:res-1') == 0
    assert 'normalisations: 3 already done' in capsys.readouterr().out, 'fewer grids are there, too'
    assert len(begun(tmp_path / 'work')) == 2, 'the pairs were done once'


def test_a_failed_normalisation_takes_nothing_else_with_it(app, capsys, raw, tmp_path):
    assert app(*SPACES, fake={'sub-01_T1w_to-Pretended': 'raise'}) == 1
    told = capsys.readouterr().out
    assert 'failed: sub-01_T1w_to-Pretended, step publish: ValueError: the normalisation went wrong' in told
    assert '2 done, 1 no pair' in told
    assert 'normalisations: 2 done, 1 failed' in told
    assert done(tmp_path / 'out') == ['sub-02_space-Pretended', 'sub-03_space-Pretended']
    settings = Settings(bids_dir=raw, output_dir=tmp_path / 'out')
    assert all(is_complete(pair, settings) for pair in find_pairs(settings).pairs)
    assert app(*SPACES, '--reports-only') == 1
    assert 'the normalisation went wrong' in capsys.readouterr().out, 'the crash file is remembered'
    assert app(*SPACES) == 0
    assert 'normalisations: 1 done, 2 already done' in capsys.readouterr().out


def test_a_failed_pair_leaves_its_t1w_to_be_normalised(app, capsys, tmp_path):
    assert app(*SPACES, fake={'sub-01': 'raise'}) == 1
    anat = tmp_path / 'out' / 'sub-01' / 'anat'
    assert (anat / 'sub-01_space-Pretended_res-1_desc-preproc_T1w.nii.gz').is_file()
    assert not (anat / 'sub-01_space-Pretended_res-1_desc-preproc_T2w.nii.gz').exists()
    capsys.readouterr()
    assert app(*SPACES) == 0, 'the pair is mended, and its T2w brought along'
    assert (anat / 'sub-01_space-Pretended_res-1_desc-preproc_T2w.nii.gz').is_file()
    assert 'normalisations: 1 done, 2 already done' in capsys.readouterr().out


def test_a_ratio_comes_into_the_space_and_one_that_failed_costs_itself_alone(app, capsys, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'bidsreg.workflows.pair_ratio', fake_ratios)
    words = [*SPACES, '--ratio', 'uncalibrated']
    assert app(*words, fake={'sub-01_ratio': 'input'}) == 1
    assert 'normalisations: 3 done' in capsys.readouterr().out
    ratio = '{0}/anat/{0}_space-Pretended_res-2_desc-uncalibrated_T1wT2wratio.nii.gz'
    assert [(tmp_path / 'out' / ratio.format(f'sub-{who}')).is_file() for who in ('01', '02', '03')] == [
        False,
        True,
        False,
    ]
    assert app(*words) == 0
    assert 'normalisations: 1 done, 2 already done' in capsys.readouterr().out
    assert (tmp_path / 'out' / ratio.format('sub-01')).is_file()


def test_people_without_any_pair_are_a_run_of_their_own(app, capsys, raw, tmp_path):
    fails(app, capsys, 'There is no pair', '--participant-label', '03')
    assert app(*SPACES, '--participant-label', '03') == 0
    assert done(tmp_path / 'out') == ['sub-03_space-Pretended']
    for path in (raw / 'sub-03').rglob('*T1w.nii.gz'):
        path.unlink()
    said = 'There is no pair of a T1w and a T2w to register, and no T1w or T2w to take to Pretended:res-1:res-2.'
    fails(app, capsys, said, *SPACES, '--participant-label', '03')


def test_a_scan_that_cannot_be_read_is_a_failed_row(app, capsys, raw, tmp_path):
    (path,) = (raw / 'sub-03').rglob('*T1w.nii.gz')
    path.write_bytes(b'no image')
    assert app(*SPACES) == 1
    told = capsys.readouterr().out
    assert 'failed: sub-03_T1w_to-Pretended, step check: sub-03_T1w.nii.gz: ' in told
    assert 'normalisations: 2 done, 1 failed' in told


def test_a_lesion_that_cannot_be_left_out_fails_the_normalisation_of_its_scan(app, capsys, raw, tmp_path):
    (path,) = (raw / 'sub-03').rglob('*T1w.nii.gz')
    shutil.copy(path, path.with_name('sub-03_label-lesion_dseg.nii.gz'))
    assert app(*SPACES) == 1
    told = ' '.join(capsys.readouterr().out.split())
    assert 'failed: sub-03_T1w_to-Pretended, step check: ' in told
    assert 'sub-03_label-lesion_dseg.nii.gz: there is no lookup table' in told
    assert 'normalisations: 2 done, 1 failed' in told


def test_two_templates_are_two_normalisations_and_one_that_changed_is_done_again(app, capsys, tmp_path):
    words = ['--output-spaces', 'Pretended', 'MNI:res-2', '--participant-label', '03']
    assert app(*words) == 0
    assert len(done(tmp_path / 'out')) == 2
    capsys.readouterr()
    shutil.rmtree(tmp_path / 'templateflow')
    write_template(tmp_path / 'templateflow', 'Pretended', resolutions=(2,))
    assert app(*words) == 0
    assert 'normalisations: 1 done, 1 already done' in capsys.readouterr().out


def test_a_dry_run_says_who_and_writes_nothing(app, capsys, tmp_path):
    assert app(*SPACES, '--dry-run') == 0
    assert 'to Pretended: sub-03_T1w.nii.gz (the first T1w of the subject, without a pair)' in capsys.readouterr().out
    assert not (tmp_path / 'out').exists()
    assert not (tmp_path / 'work').exists()


def test_a_dry_run_says_which_lesions_are_left_out_of_whom(app, capsys, raw):
    (path,) = (raw / 'sub-03').rglob('*T1w.nii.gz')
    shutil.copy(path, path.with_name('sub-03_label-lesion_roi.nii.gz'))
    assert app(*SPACES, '--dry-run') == 0
    told = capsys.readouterr().out
    assert 'sub-03_T1w.nii.gz (the first T1w of the subject, without a pair; lesion: sub-03_label-lesion_roi' in told
    assert told.count('lesion: ') == 1


def test_a_template_that_cannot_be_made_ready_fails_all_normalisations_and_no_pair(app, capsys, tmp_path, monkeypatch):
    def broken(*_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('bidsreg.app.normalising.make_template', broken)
    assert app(*SPACES) == 1
    told = capsys.readouterr().out
    assert '2 done, 1 no pair' in told
    assert 'normalisations: 3 failed' in told
    assert 'No space left on device' in told
