"""The app's graph with steps that do nothing."""

from __future__ import annotations

import re

import nibabel as nib
import overhead
import pytest
from nipype.interfaces.utility import Function, IdentityInterface
from nipype.pipeline import engine as pe


def fail(x):
    """Run only if it was not replaced."""
    raise RuntimeError(x)


def test_a_dataset_of_tiny_images(tmp_path):
    overhead.make_dataset(tmp_path / 'raw', 3)
    images = sorted((tmp_path / 'raw').rglob('*.nii.gz'))
    assert [path.name for path in images[:2]] == ['sub-0000_T1w.nii.gz', 'sub-0000_T2w.nii.gz']
    assert len(images) == 6
    assert nib.load(images[0]).shape == (8, 8, 8)


@pytest.mark.slow  # the app's real graph, of a process of its own
def test_a_number_of_subjects_is_a_row(capsys):
    overhead.main(['1'])
    *_, titles, _, row = capsys.readouterr().out.splitlines()
    values = dict(zip(titles.split(' | '), row.split(' | '), strict=True))
    assert int(values['steps']) > 20
    for title in ('index', 'index kept', 'its CPU |'):
        assert re.fullmatch(r'\d+\.\d s, \d{2,} MB( \|)?', values[title]), title
    for title in ('graph', 'run of empty steps'):
        assert re.fullmatch(r'\d+\.\d s', values[title]), title


def test_steps_keep_their_names_and_do_nothing(tmp_path):
    workflow = pe.Workflow(name='wf', base_dir=str(tmp_path))
    start = pe.Node(IdentityInterface(fields=['x']), name='start')
    start.inputs.x = 1
    steps = [pe.Node(Function(function=fail, output_names=['y']), name=name) for name in ('first', 'second')]
    workflow.connect([(start, steps[0], [('x', 'x')]), (steps[0], steps[1], [('y', 'x')])])
    assert overhead.empty(workflow) == 2
    done = {node.name: node.result.outputs for node in workflow.run().nodes() if node.name != 'start'}
    assert done['second'].y == 1.0
