"""Real sessions are found, made ready once, and paired; the network is pretended."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import verdict_sessions as sessions

from tests import data

SUBJECTS = {'01': {'1': ['T1w', 'T2w'], '2': ['T1w']}, '04': {'1': ['T1w', 'T2w']}}


def test_pairs_of_one_subject_and_of_two(tmp_path):
    made = [sessions.Session(name, tmp_path) for name in ('sub-01_ses-1', 'sub-01_ses-2', 'sub-04_ses-1')]
    assert [one.subject for one in made] == ['01', '01', '04']
    same, other = (sessions.pairs_of(made, same=same) for same in (True, False))
    assert [(one.name[-1], two.name[-1]) for one, two in same] == [('1', '2'), ('2', '1')]
    assert len(other) == 4
    assert all('sub-04_ses-1' in (one.name, two.name) for one, two in other)


@pytest.mark.slow  # the rigid and N4 of two heads
def test_sessions_with_both_scans_are_made_ready(tmp_path, monkeypatch):
    heads = {f'sub-{s}_ses-1_{c}.nii.gz': data.head(seed=int(s), contrast=c) for s in SUBJECTS for c in ('T1w', 'T2w')}
    images = {name: head.scan for name, head in heads.items()}
    data.write_dataset(tmp_path / 'bids', SUBJECTS, images=images)
    masks = iter([heads[f'sub-{s}_ses-1_T1w.nii.gz'].mask for s in SUBJECTS])

    def network(path):
        mask = next(masks)
        nib.save(mask, 'deepbet.nii.gz')
        return np.asanyarray(mask.dataobj) > 0

    monkeypatch.setattr(sessions, 'run_deepbet', network)
    found = sessions.find_sessions(tmp_path / 'bids', tmp_path / 'out')
    assert [one.name for one in found] == ['sub-01_ses-1', 'sub-04_ses-1']
    scans = found[0].scans(found[1])
    assert scans.points is None
    for one, other in ((scans.fixed, scans.mask), (scans.moving, scans.moving_brain)):
        np.testing.assert_allclose(one.affine, other.affine, atol=1e-5)
        assert 0.1 < (np.asanyarray(other.dataobj) > 0).mean() < 0.5
    assert sessions.find_sessions(tmp_path / 'bids', tmp_path / 'out') == found  # the network is not asked again
