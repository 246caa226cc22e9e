"""The node that runs one method, whatever is judged afterwards."""

from __future__ import annotations

import typing

from nipype.pipeline import engine as pe

from bidsreg.benchmark.translation_nodes import plain_name
from bidsreg.execution.devices import resolve
from bidsreg.interfaces.register import Register
from bidsreg.workflows.resources import solver_gigabytes, voxel_shape

if typing.TYPE_CHECKING:
    from bidsreg.benchmark.case import Case
    from bidsreg.benchmark.methods import Method
    from bidsreg.benchmark.settings import BenchmarkSettings


def method_node_name(method: Method) -> str:
    """Return a method's name as Nipype takes it for a node."""
    return plain_name(method.name)


def register_node(*, case: Case, method: Method, settings: BenchmarkSettings, of: str = '') -> pe.Node:
    """Make the node that runs a method, not yet connected.

    Parameters
    ----------
    case, method, settings
        The pair, what is run on it, and how.
    of
        Which map it finds, where a method finds several; it ends the node's name.
    """
    device = resolve(method.device(settings.device))
    gpu = device != 'cpu'
    return pe.Node(
        Register(
            method=method.registers,
            device=device,
            seed=settings.random_seed,
            sloppy=settings.sloppy,
            threads=settings.omp_nthreads,
            keep='diffeo',
            use_gpu=gpu,
        ),
        name='_'.join(filter(None, ['register', method_node_name(method), of])),
        # for a node on a GPU, Nipype takes the processes for GPUs
        n_procs=1 if gpu else settings.omp_nthreads,
        mem_gb=solver_gigabytes(voxel_shape(case.fixed), voxel_shape(case.moving)),
    )
