"""Which T1w a T2w is registered to, and what is said of it."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from bidsreg.bids.pairs import find_pairs
from bidsreg.settings import Settings
from tests.planning import dataset, names, plan, reasons


def image(path, shape, zooms):
    nib.save(nib.Nifti1Image(np.zeros(shape, 'uint8'), np.diag([*zooms, 1.0])), path)


def chosen(root, *files, **options):
    """The T1w of every T2w by what follows sub-01, and the reasons."""
    found = plan(root, *(f'sub-01_{name}' for name in files), **options)
    return {t2w[7:]: t1w[7:] for t1w, t2w in names(found)}, {p.moving.name[7:-7]: p.reason for p in found.pairs}


@pytest.mark.parametrize(
    ('files', 'pairs', 'why'),
    [
        # the same task, chunk, run (as numbers), echo, part and so on
        (['task-nodding_T1w', 'task-still_T1w', 'task-still_T2w'], {'task-still_T2w': 'task-still_T1w'}, 'in task'),
        (
            ['run-01_T1w', 'run-02_T1w', 'run-1_T2w', 'run-2_T2w'],
            {'run-1_T2w': 'run-01_T1w', 'run-2_T2w': 'run-02_T1w'},
            'in run',
        ),
        (
            ['chunk-1_T1w', 'chunk-2_T1w', 'chunk-1_T2w', 'chunk-2_T2w'],
            {'chunk-1_T2w': 'chunk-1_T1w', 'chunk-2_T2w': 'chunk-2_T1w'},
            'the only T1w',
        ),
        (
            ['echo-1_T1w', 'echo-2_T1w', 'echo-1_T2w', 'echo-02_T2w'],
            {'echo-1_T2w': 'echo-1_T1w', 'echo-02_T2w': 'echo-2_T1w'},
            'in echo',
        ),
        (['dir-AP_T1w', 'dir-PA_T1w', 'dir-PA_T2w'], {'dir-PA_T2w': 'dir-PA_T1w'}, 'in dir'),
        (['flip-1_T1w', 'flip-2_T1w', 'flip-2_T2w'], {'flip-2_T2w': 'flip-2_T1w'}, 'in flip'),
        # what contradicts is worse than what is not there
        (['acq-a_T1w', 'T1w', 'acq-b_T2w'], {'acq-b_T2w': 'T1w'}, 'acq-a_T1w.nii.gz differs in acq'),
        (['echo-2_T1w', 'T1w', 'echo-1_T2w'], {'echo-1_T2w': 'T1w'}, 'differs in echo'),
        # no contrast agent, unless both have it
        (['ce-gad_T1w', 'acq-mprage_T1w', 'T2w'], {'T2w': 'acq-mprage_T1w'}, 'ce-gad_T1w.nii.gz differs in ce'),
        (['ce-gad_T1w', 'T1w', 'ce-gad_T2w'], {'ce-gad_T2w': 'ce-gad_T1w'}, 'in ce'),
        (['acq-a_ce-gad_T1w', 'T1w', 'acq-a_T2w'], {'acq-a_T2w': 'T1w'}, 'without contrast agent'),
        # no localizer
        (['acq-localizer_T1w', 'acq-mprage_T1w', 'T2w'], {'T2w': 'acq-mprage_T1w'}, 'no localizer'),
        (['acq-AAHScout_T1w', 'acq-mprage_T1w', 'T2w'], {'T2w': 'acq-mprage_T1w'}, 'no localizer'),
        # two labels of several words that have some in common
        (
            ['acq-mpragePMCoff_T1w', 'acq-mpragePMCon_T1w', 'acq-t2tsePMCon_T2w'],
            {'acq-t2tsePMCon_T2w': 'acq-mpragePMCon_T1w'},
            'more words of the T2w in its labels',
        ),
        (
            ['acq-mprage12mm_T1w', 'acq-mprage08mm_T1w', 'acq-space08mm_T2w'],
            {'acq-space08mm_T2w': 'acq-mprage08mm_T1w'},
            'more words of the T2w in its labels',
        ),
        (['acq-t1tirm_T1w', 'acq-mprage_T1w', 'acq-t2tse_T2w'], {'acq-t2tse_T2w': 'acq-mprage_T1w'}, 'by name'),
        # the plainest name, the lowest run and echo, the name
        (['acq-mprage_T1w', 'T1w', 'T2w'], {'T2w': 'T1w'}, 'named most like the T2w'),
        (['run-2_T1w', 'run-10_T1w', 'T2w'], {'T2w': 'run-2_T1w'}, 'the lowest run'),
        (['run-1_T1w', 'acq-a_T1w', 'T2w'], {'T2w': 'acq-a_T1w'}, 'it has no run, unlike sub-01_run-1_T1w'),
        (['echo-2_T1w', 'echo-1_T1w', 'T2w'], {'T2w': 'echo-1_T1w'}, 'the first echo'),
        (['acq-b_T1w', 'acq-a_T1w', 'T2w'], {'T2w': 'acq-a_T1w'}, 'the first by name'),
    ],
)
def test_the_rules(tmp_path, files, pairs, why):
    found, said = chosen(tmp_path, *files)
    assert found == pairs
    assert any(why in words for words in said.values()), said


@pytest.mark.parametrize(
    ('slab', 'words'), [(((256, 256, 20), (0.9, 0.9, 4.9)), 'is a slab'), (((64, 64, 40), (3.5, 3.5, 4)), 'thick')]
)
@pytest.mark.parametrize('name', ['acq-fse_T1w', 'acq-highres_T1w', 'acq-zebra_T1w', 'T1w'])
def test_a_whole_head_goes_before_a_slab_and_thick_slices(tmp_path, slab, words, name):
    root = dataset(tmp_path / 'raw', f'sub-01_{name}', 'sub-01_acq-iso_T1w', 'sub-01_T2w')
    image(root / f'sub-01/anat/sub-01_{name}.nii.gz', *slab)
    image(root / 'sub-01/anat/sub-01_acq-iso_T1w.nii.gz', (176, 256, 256), (1, 1, 1))
    (pair,) = find_pairs(Settings(bids_dir=root, output_dir=tmp_path / 'out')).pairs
    assert pair.fixed.name == 'sub-01_acq-iso_T1w.nii.gz'
    assert words in pair.reason


def test_two_rules_that_decide_are_both_told(tmp_path):
    files = ['acq-a_run-1_T1w', 'acq-a_run-2_T1w', 'acq-b_T1w', 'acq-a_T2w']
    found, said = chosen(tmp_path, *files)
    assert found == {'acq-a_T2w': 'acq-a_run-1_T1w'}
    assert 'of 3 T1w of the subject, agrees best in acq, then the lowest run' in said['acq-a_T2w']


def test_another_chunk_shows_another_part_of_the_body(tmp_path):
    found = plan(tmp_path, 'sub-01_chunk-1_T1w', 'sub-01_chunk-2_T2w')
    assert not found.pairs
    assert 'another part of the body' in reasons(found)['sub-01_chunk-2_T2w']
    assert 'another part of the body' in found.subjects_without_pair['01']


def test_the_uni_of_an_mp2rage_comes_before_its_inversions(tmp_path):
    found = plan(tmp_path, *(f'sub-01_acq-{label}_T1w' for label in ('INV1', 'INV2', 'UNI')), 'sub-01_T2w')
    assert names(found) == [('sub-01_acq-UNI_T1w', 'sub-01_T2w')]
    assert 'no single inversion, unlike sub-01_acq-INV1_T1w' in found.pairs[0].reason
