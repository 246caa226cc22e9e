"""A pair of a benchmark knows its files, and when they have changed."""

from __future__ import annotations

import os

from bidsreg.benchmark.case import Case


def made(folder, **more) -> Case:
    for name in ('t1w.nii', 't2w.nii', 'labels.nii'):
        (folder / name).write_text('image')
    return Case(name='a b', fixed=folder / 't1w.nii', moving=folder / 't2w.nii', **more)


def test_only_files_that_it_has_are_named(tmp_path):
    case = made(tmp_path, fixed_labels=tmp_path / 'labels.nii')
    assert case.files() == {
        'fixed': tmp_path / 't1w.nii',
        'moving': tmp_path / 't2w.nii',
        'fixed_labels': tmp_path / 'labels.nii',
    }
    assert not case.has_labels
    assert made(tmp_path, fixed_labels=tmp_path / 'labels.nii', moving_labels=tmp_path / 'labels.nii').has_labels
    assert case.node_name == 'pair_a_b'


def test_a_file_that_changed_changes_the_state_and_not_the_identity(tmp_path):
    case = made(tmp_path)
    identity, state = case.identity(), case.fingerprint()
    assert case.fingerprint() == state
    os.utime(tmp_path / 't2w.nii', ns=(0, 0))
    assert case.fingerprint() != state
    assert case.identity() == identity
