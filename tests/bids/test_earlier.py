"""An output folder of an earlier release: what is said, what is removed, and what the study leaves out."""

from __future__ import annotations

import dataclasses

import pytest

from bidsreg.bids.earlier import describe_earlier, earlier_files
from bidsreg.bids.names import pair_outputs
from bidsreg.bids.publish import is_complete, why_incomplete
from bidsreg.reports.study import read_study


def make_old(pair, settings):
    """Give the files of a finished pair the names of an earlier release."""
    outputs = pair_outputs(pair, settings.output_dir)
    folder = outputs['qc'].parent
    old = [
        outputs['jacobian'].rename(folder / f'{pair.name}_space-T1w_desc-jacobian_T2w.nii.gz'),
        outputs['affine_xfm'].rename(folder / f'{pair.name}_from-T2w_to-T1w_mode-image_desc-affine_xfm.txt'),
    ]
    outputs['moving_preproc'].unlink()
    return old


def test_a_pair_is_done_anew_and_its_old_files_go(pairs, settings, finish):
    mine, other = pairs['sub-01'], pairs['sub-02_ses-2']
    old = {}
    for pair in (mine, other):
        finish(pair, settings)
        old[pair.name] = make_old(pair, settings)
    found = earlier_files(settings.output_dir)
    assert {name: set(paths) for name, paths in found.items()} == {name: set(paths) for name, paths in old.items()}
    assert 'missing' in why_incomplete(mine, settings)
    words = describe_earlier(found, [mine.name, 'sub-09'])
    assert '2 pair(s) of an earlier release' in words
    assert 'sub-01 of this run: done anew, and the old files removed' in words
    assert 'sub-02_ses-2: left as they are' in words
    finish(mine, settings)
    assert is_complete(mine, settings)
    assert not any(path.exists() for path in old[mine.name])
    assert all(path.exists() for path in old[other.name])


def test_the_study_leaves_them_out(pairs, settings, finish, caplog):
    finish(pairs['sub-01'], settings)
    finish(pairs['sub-02_ses-2'], settings)
    make_old(pairs['sub-02_ses-2'], settings)
    names = [row.name for row in read_study(settings).rows]
    assert 'sub-01' in names
    assert 'sub-02_ses-2' not in names
    assert 'sub-02_ses-2: of an earlier release' in caplog.text


def test_nothing_is_said_of_nothing(tmp_path):
    assert describe_earlier(earlier_files(tmp_path), ['sub-01']) == ''


@pytest.mark.parametrize('formats', [('fsl',), ('fsl', 'lta')])
def test_a_format_that_is_asked_for_later_is_missing(pair, settings, finish, formats):
    finish(pair, settings)
    assert is_complete(pair, settings)
    assert 'desc-affine_xfm' in why_incomplete(pair, dataclasses.replace(settings, affine_formats=formats))
