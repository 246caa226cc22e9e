"""The nodes of trainings and translations: names that Nipype takes, and what they are asked."""

from __future__ import annotations

from pathlib import Path

import pytest
from nipype.interfaces.base import isdefined

from bidsreg.benchmark.case import Case
from bidsreg.benchmark.methods import resolve_all
from bidsreg.benchmark.settings import BenchmarkSettings
from bidsreg.benchmark.translation_nodes import fit_name, fit_node, plain_name, translate_node, translations_of


def asked(tmp_path, **options):
    return BenchmarkSettings(input=tmp_path / 'x.tsv', output_dir=tmp_path / 'out', methods=('cut',), **options)


def test_names():
    assert plain_name('not-weak+mind') == 'not_weak_mind'
    assert fit_name('not-weak', (0, 3)) == 'fit_not_weak_without_0_3'
    assert fit_name('cut', (2,)) == 'fit_cut_without_2'


def test_every_translation_is_needed_once():
    methods = resolve_all(['cut', 'node-mind', 'cut+mind', 'not'], 'inter')
    assert translations_of((method, {}) for method in methods) == ['cut', 'not']


@pytest.mark.parametrize('steps', [None, 7])
def test_what_a_training_is_asked(tmp_path, steps):
    case = Case(name='x', fixed=Path('/f'), moving=Path('/m'), fixed_subject='a', moving_subject='b')
    settings = asked(tmp_path, nprocs=3, omp_nthreads=2, random_seed=4, translation_steps=steps, device='cpu')
    node = fit_node(recipe='cut', name='fit', scans=[(case, 'moving'), (case, 'fixed')], settings=settings)
    inputs = node.inputs
    assert (inputs.heads, inputs.contrasts) == (['b', 'a'], ['moving', 'fixed'])
    assert (inputs.method, inputs.seed, inputs.threads, inputs.device) == ('cut', 4, 2, 'cpu')
    assert (inputs.steps if isdefined(inputs.steps) else None) == steps
    assert node.n_procs == 2
    assert not inputs.sloppy


def test_on_a_gpu_a_node_takes_the_processes_for_it(tmp_path):
    settings = asked(tmp_path, nprocs=4, omp_nthreads=4, device='cuda')
    node = translate_node(recipe='not-weak', settings=settings)
    assert node.name == 'translate_not_weak'
    assert (node.inputs.device, node.inputs.use_gpu, node.n_procs) == ('cuda', True, 1)
