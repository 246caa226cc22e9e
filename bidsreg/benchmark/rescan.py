"""The graph of a rescan: two sessions of one person, and the three maps between them that each method finds."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Mapping
from typing import Any

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe

from bidsreg.benchmark.alignment import align_heads
from bidsreg.benchmark.case import ENDS
from bidsreg.benchmark.interfaces import EvaluateRescan, MapStart
from bidsreg.benchmark.measures import MAPS
from bidsreg.benchmark.method_nodes import method_node_name, register_node
from bidsreg.benchmark.methods import AFFINE, Method
from bidsreg.benchmark.translation_nodes import plain_name
from bidsreg.workflows.prealign import init_prealign_wf
from bidsreg.workflows.resources import gigabytes, solver_gigabytes, voxel_shape

if typing.TYPE_CHECKING:
    from bidsreg.benchmark.case import RescanCase
    from bidsreg.benchmark.settings import BenchmarkSettings

#: What a map is found from; its method gets these and the mask of the moving scan.
GIVEN = ('fixed', 'fixed_mask', 'moving', 'affine')
#: What a method says of each map, by the name that the judge knows it by.
FOUND = {
    'forward': 'forward',
    'inverse': 'inverse',
    'result': 'result',
    'seconds': 'method_seconds',
    'cpu_seconds': 'method_cpu_seconds',
}


def rescan_nodes(method: Method) -> list[str]:
    """Name the nodes of a method in the graph of a rescan: those of its three maps, and the judge."""
    name = method_node_name(method)
    return [*(f'register_{name}_{plain_name(which)}' for which in MAPS), f'evaluate_{name}']


def init_rescan_wf(
    *,
    case: RescanCase,
    methods: Iterable[tuple[Method, Mapping[str, Any]]],
    labels: Mapping[int, str],
    settings: BenchmarkSettings,
) -> pe.Workflow:
    """Build the graph of two sessions of one person.

    One affine leads from the first T1w to the second, and one in each session from its T1w to its T2w; through these
    every map begins, whatever method finds it, and by these it is brought between the two T1w to be judged.

    Parameters
    ----------
    case
        The two sessions.
    methods, settings
        See :func:`bidsreg.benchmark.workflow.init_benchmark_wf`.
    labels
        None are looked at.

    Inputs
    ------
    fixed_preproc, fixed_mask, moving_preproc, moving_mask
        The two T1w and their brain masks.
    """
    workflow = pe.Workflow(name=case.node_name)
    inputnode = pe.Node(
        niu.IdentityInterface(fields=[f'{end}_{what}' for end in ENDS for what in ('preproc', 'mask')]),
        name='inputnode',
    )
    shapes = {'fixed_shape': voxel_shape(case.fixed), 'moving_shape': voxel_shape(case.moving)}
    between = pe.Node(niu.IdentityInterface(fields=['affine']), name='between')
    align_heads(workflow, inputnode=inputnode, ready=between, shapes=shapes, settings=settings)
    scans = {(end, 'T1w'): {'image': (inputnode, f'{end}_preproc'), 'mask': (inputnode, f'{end}_mask')} for end in ENDS}
    to_t2w = {}
    for end in ENDS:
        session_wf = _session_wf(case, end, settings)
        workflow.connect([
            (inputnode, session_wf, [
                (f'{end}_preproc', 'inputnode.fixed'),
                (f'{end}_mask', 'inputnode.fixed_mask'),
            ]),
        ])  # fmt:skip
        scans[end, 'T2w'] = {'image': (session_wf, 'outputnode.preproc'), 'mask': (session_wf, 'outputnode.mask')}
        to_t2w[end] = (session_wf, 'outputnode.linear')
    given = {which: _map_inputs(workflow, which, scans, to_t2w, between) for which in MAPS}
    lists = {field: _merge(workflow, field, [given[which][field] for which in MAPS]) for field in GIVEN}
    for method, inputs in methods:
        judge = _judge(workflow, case, method, inputs, lists, to_t2w)
        if method.name != AFFINE:
            _add_registers(workflow, case, method, given, judge, settings)
    return workflow


#: A node, and the name of one of its outputs.
_Source = tuple[pe.Node | pe.Workflow, str]


def _session_wf(case: RescanCase, end: str, settings: BenchmarkSettings) -> pe.Workflow:
    """Make the graph that finds the T2w of a session from its T1w."""
    t1w, t2w = getattr(case, end), getattr(case, f'{end}_t2w')
    mask = getattr(case, f'{end}_t2w_mask')
    session_wf = init_prealign_wf(
        bias_correction=settings.bias_correction,
        random_seed=settings.random_seed,
        user_mask=mask is not None,
        sloppy=settings.sloppy,
        fixed_shape=voxel_shape(t1w),
        moving_shape=voxel_shape(t2w),
        name=f'{end}_session_wf',
    )
    session_wf.inputs.inputnode.moving = str(t2w)
    if mask is not None:
        session_wf.inputs.inputnode.moving_mask = str(mask)
    return session_wf


def _map_inputs(
    workflow: pe.Workflow,
    which: str,
    scans: Mapping[tuple[str, str], Mapping[str, _Source]],
    to_t2w: Mapping[str, _Source],
    between: pe.Node,
) -> dict[str, _Source]:
    """Return where the images, masks and the affine of a map come from; its affine is put together here."""
    contrasts = dict(zip(ENDS, MAPS[which], strict=True))
    start = pe.Node(MapStart(), name=f'start_{plain_name(which)}', mem_gb=gigabytes('conform'))
    workflow.connect(between, 'affine', start, 'between')
    for end, contrast in contrasts.items():
        if contrast == 'T2w':
            workflow.connect(*to_t2w[end], start, f'{end}_to_scan')
    return {
        **{end: scans[end, contrast]['image'] for end, contrast in contrasts.items()},
        **{f'{end}_mask': scans[end, contrast]['mask'] for end, contrast in contrasts.items()},
        'affine': (start, 'out_file'),
    }


def _merge(workflow: pe.Workflow, name: str, sources: Iterable[_Source]) -> pe.Node:
    """Add a node that makes a list of what three maps have."""
    merge = pe.Node(niu.Merge(len(MAPS)), name=f'all_{name}', run_without_submitting=True)
    for number, (node, output) in enumerate(sources, start=1):
        workflow.connect(node, output, merge, f'in{number}')
    return merge


def _judge(
    workflow: pe.Workflow,
    case: RescanCase,
    method: Method,
    inputs: Mapping[str, Any],
    lists: Mapping[str, pe.Node],
    to_t2w: Mapping[str, _Source],
) -> pe.Node:
    """Add the node that judges the three maps of a method."""
    judge = pe.Node(
        EvaluateRescan(method=method.name, **inputs),
        name=f'evaluate_{method_node_name(method)}',
        mem_gb=solver_gigabytes(voxel_shape(case.fixed), voxel_shape(case.moving)),
    )
    for field, merge in lists.items():
        workflow.connect(merge, 'out', judge, field)
    for end, source in to_t2w.items():
        workflow.connect(*source, judge, f'{end}_to_t2w')
    return judge


def _add_registers(
    workflow: pe.Workflow,
    case: RescanCase,
    method: Method,
    given: Mapping[str, Mapping[str, _Source]],
    judge: pe.Node,
    settings: BenchmarkSettings,
) -> None:
    """Add the three nodes of a method, and tell the judge what they find."""
    nodes = {which: register_node(case=case, method=method, settings=settings, of=plain_name(which)) for which in MAPS}
    for which, register in nodes.items():
        for field, source in given[which].items():
            workflow.connect(*source, register, field)
    for output, field in FOUND.items():
        sources = [(register, output) for register in nodes.values()]
        merge = _merge(workflow, f'{output}_{method_node_name(method)}', sources)
        workflow.connect(merge, 'out', judge, field)
