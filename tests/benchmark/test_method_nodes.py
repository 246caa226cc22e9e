"""The node of a method: how it is asked and named."""

from __future__ import annotations

import nibabel as nb
import numpy as np

from bidsreg.benchmark.case import Case
from bidsreg.benchmark.method_nodes import method_node_name, register_node
from bidsreg.benchmark.methods import resolve
from bidsreg.benchmark.settings import BenchmarkSettings


def test_the_name_says_method_and_map(tmp_path):
    nb.save(nb.Nifti1Image(np.zeros((9, 9, 9), np.uint8), np.eye(4)), tmp_path / 'a.nii')
    case = Case(name='c', fixed=tmp_path / 'a.nii', moving=tmp_path / 'a.nii')
    settings = BenchmarkSettings(
        input=tmp_path, output_dir=tmp_path / 'out', methods=('node-mind',), device='cpu', random_seed=9
    )
    method = resolve('node-mind', 'inter')
    assert method_node_name(method) == 'node_mind_inter'
    node = register_node(case=case, method=method, settings=settings)
    assert (node.name, node.inputs.method, node.inputs.seed, node.inputs.keep) == (
        'register_node_mind_inter',
        'node-mind-inter',
        9,
        'diffeo',
    )
    assert register_node(case=case, method=method, settings=settings, of='T1w').name == 'register_node_mind_inter_T1w'
