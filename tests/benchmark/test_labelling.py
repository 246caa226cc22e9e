"""Labels for scans without: by Atropos on small heads, by a pretended SAMSEG through the whole command."""

from __future__ import annotations

import sys

import nibabel as nb
import numpy as np
import pandas as pd
import pytest

from bidsreg.benchmark import labelling
from bidsreg.benchmark.cases import find_cases
from bidsreg.benchmark.cli import main
from bidsreg.benchmark.labelling import LABELLERS, LabelTask, label_files, make_labels
from bidsreg.benchmark.settings import BenchmarkSettings
from bidsreg.errors import InputError
from bidsreg.registration import Image
from tests import data
from tests.fake_program import executable

SHAPE = (36, 42, 36)

#: Finds white matter where the scan is bright and cortex where it is dark, on the scan's own grid.
SAMSEG = f"""#!{sys.executable}
import sys
from pathlib import Path
import nibabel as nb
import numpy as np
words = sys.argv[1:]
given = dict(zip(words[::2], words[1::2]))
with open(Path(sys.argv[0]).with_name('calls.txt'), 'a') as calls:
    calls.write(' '.join(words) + chr(10))
if Path(sys.argv[0]).with_name('fail').exists():
    sys.exit('no template fits')
scan = nb.load(given['-i'])
values = np.asarray(scan.dataobj)
found = np.where(values > np.percentile(values, 90), 2, np.where(values > 0, 3, 0)).astype(np.int32)
Path(given['-o']).mkdir()
nb.save(nb.MGHImage(found, scan.affine), Path(given['-o']) / 'seg.mgz')
"""


@pytest.fixture(scope='module')
def raw(tmp_path_factory):
    """Two people without labels, skull-stripped, so that deepbet is not asked."""
    folder = tmp_path_factory.mktemp('raw') / 'bids'
    scans = {}
    for seed in (1, 2):
        pair = data.pair(SHAPE, seed=seed, known=data.truth(seed, (2, -3, 4), (2.0, -1.5, 3.0), amplitude=0))
        for end, contrast in (('fixed', 'T1w'), ('moving', 'T2w')):
            scan, mask = getattr(pair, end), getattr(pair, f'{end}_mask')
            brain = np.asarray(scan.dataobj) * np.asarray(mask.dataobj)
            scans[f'sub-0{seed}_{contrast}.nii.gz'] = data.image(brain, scan.affine)
    data.write_dataset(folder, {f'0{seed}': {None: ['T1w', 'T2w']} for seed in (1, 2)}, images=scans)
    return folder


@pytest.fixture
def samseg(tmp_path, monkeypatch):
    """A pretended run_samseg; in its folder ``fail`` makes it fail."""
    folder = executable(tmp_path / 'samseg', 'run_samseg', text=SAMSEG)
    monkeypatch.setenv('SAMSEG', str(folder / 'run_samseg'))
    return folder


def task(raw, folder, labeller='atropos', moving='T2w', **changes):
    files = {role: str(path) for role, path in label_files(folder, labeller, 'sub-01', moving).items()}
    contrasts = {'fixed': 'T1w', 'moving': 'T2w'}
    scans = {end: str(raw / f'sub-01/anat/sub-01_{contrast}.nii.gz') for end, contrast in contrasts.items()}
    return LabelTask(name='sub-01', **scans, **files, **changes)


def run(raw, folder, *words):
    quick = ('--prealign', 'none', '--bias-correction', 'none', '--nprocs', '1', '--device', 'cpu')
    return main([str(raw), str(folder / 'out'), '-w', str(folder / 'work'), '--methods', 'affine', *quick, *words])


def test_a_table_without_labels_is_one_command(raw, samseg, tmp_path, monkeypatch):
    monkeypatch.setattr('bidsreg.benchmark.figures.write_figures', lambda *_: None)
    assert run(raw, tmp_path, '--label-with', 'samseg') == 0
    calls = (samseg / 'calls.txt').read_text().splitlines()
    assert sorted(calls) == 2 * ['-i T1w.nii.gz -o T1w --threads 1'] + 2 * [
        '-i T2w.nii.gz -o T2w --threads 1 --pallidum-separate'
    ]
    results = pd.read_csv(tmp_path / 'out/results.tsv', sep='\t')
    assert len(results) == 2
    assert results['dice_mean'].between(0.1, 1).all()
    text = (tmp_path / 'out/table.md').read_text()
    assert 'labels are no truth: structures by SAMSEG on each scan' in text.splitlines()[0]
    assert 'Labels: 32 structures by SAMSEG on each scan' in text
    made = tmp_path / 'out/labels/samseg/sub-01_space-T2w_dseg.nii.gz'
    scan = nb.load(raw / 'sub-01/anat/sub-01_T2w.nii.gz')
    assert nb.load(made).shape == scan.shape
    np.testing.assert_allclose(nb.load(made).affine, scan.affine, atol=1e-4)
    assert set(np.unique(nb.load(made).dataobj)) == {0, 2, 3}
    # again: nothing is labelled twice, and other labels are another benchmark
    assert run(raw, tmp_path, '--label-with', 'samseg') == 0
    assert len((samseg / 'calls.txt').read_text().splitlines()) == 4
    assert run(raw, tmp_path, '--label-with', 'atropos') == 2


def test_scans_of_other_contrasts_are_labelled_each_in_its_way(raw, samseg, tmp_path):
    (samseg / 'calls.txt').unlink(missing_ok=True)
    for fixed, moving in (('T2w', 'PDw'), ('T1w', 'FLAIR')):
        one = task(raw, tmp_path / moving, 'samseg', moving, fixed_contrast=fixed, moving_contrast=moving)
        assert not make_labels('samseg', [one])
        assert (tmp_path / moving / f'labels/samseg/sub-01_space-{moving}_dseg.nii.gz').is_file()
    calls = [line.split() for line in (samseg / 'calls.txt').read_text().splitlines()]
    assert [call[1] for call in calls] == ['T2w.nii.gz', 'PDw.nii.gz', 'T1w.nii.gz', 'FLAIR.nii.gz']
    # in a T2w and a FLAIR the pallidum does not look like white matter
    assert ['--pallidum-separate' in call for call in calls] == [True, False, False, True]


def test_what_cannot_be_labelled_is_told(raw, samseg, tmp_path, capsys):
    (samseg / 'fail').touch()
    assert run(raw, tmp_path, '--label-with', 'samseg') == 2
    said = capsys.readouterr().err
    assert 'No pair could be labelled.' in said
    assert 'sub-01: run_samseg ended with 1 on the T1w: no template fits' in said


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (('--label-with', 'atropos', '--label-desc', 'x'), 'leave --label-desc out'),
        (('--label-with', 'samseg'), 'samseg==0.4a0'),
        (('--label-with', 'atropos', '--methods', 'affine', 'cut'), 'too few heads are left to train'),
    ],
)
def test_what_does_not_fit_is_refused_at_once(raw, tmp_path, capsys, monkeypatch, words, message):
    monkeypatch.setenv('SAMSEG', str(tmp_path / 'nowhere'))
    assert run(raw, tmp_path, *words) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


def test_a_table_is_refused(tmp_path):
    with pytest.raises(InputError, match='wants a BIDS dataset'):
        BenchmarkSettings(
            input=tmp_path / 'pairs.tsv',
            output_dir=tmp_path,
            work_dir=tmp_path,
            methods=('affine',),
            label_with='atropos',
        )


def test_cases_know_where_their_labels_will_be(raw, tmp_path):
    settings = BenchmarkSettings(
        input=raw, output_dir=tmp_path, work_dir=tmp_path, methods=('affine',), label_with='atropos', task='inter'
    )
    names = {case.fixed_labels.name: case.moving_labels.name for case in find_cases(settings)}
    assert names == {
        'sub-01_dseg.nii.gz': 'sub-02_space-T2w_dseg.nii.gz',
        'sub-02_dseg.nii.gz': 'sub-01_space-T2w_dseg.nii.gz',
    }
    assert settings.label_names() == {1: 'csf', 2: 'grey', 3: 'white'}


def test_a_failure_says_which_scan(raw, tmp_path):
    failed = make_labels('atropos', [task(raw, tmp_path, mask=str(tmp_path / 'no-mask.nii.gz'))])
    assert 'no-mask' in failed['sub-01']


@pytest.mark.slow
def test_tissue_of_the_t1w_comes_to_the_t2w(raw, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one = task(raw, tmp_path)
    LABELLERS['atropos'].label(one)
    first = {role: Image.load(getattr(one, role)) for role in ('fixed_labels', 'moving_labels')}
    for end in ('fixed', 'moving'):
        scan, labels = Image.load(getattr(one, end)), first[f'{end}_labels']
        assert labels.grid.same_as(scan.grid)
        assert set(np.unique(labels.data)) == {0, 1, 2, 3}
        brain = scan.data > 0
        overlap = 2 * (brain & (labels.data > 0)).sum() / (brain.sum() + (labels.data > 0).sum())
        assert overlap > 0.9, end
    LABELLERS['atropos'].label(one)
    for role, image in first.items():
        np.testing.assert_array_equal(Image.load(getattr(one, role)).data, image.data)


def test_the_last_lines_are_told():
    assert labelling._last_lines('a\n\nb\nc\nd\n') == 'b | c | d'
