"""How two images of a benchmark with brain masks of their own are aligned linearly, by the task."""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence

from nipype.pipeline import engine as pe

from bidsreg.benchmark.interfaces import Strip
from bidsreg.interfaces.linear import ChooseLinear
from bidsreg.interfaces.prealign import Prealign
from bidsreg.workflows.resources import gigabytes

if typing.TYPE_CHECKING:
    from bidsreg.benchmark.settings import BenchmarkSettings


def align_brains(
    workflow: pe.Workflow,
    *,
    inputnode: pe.Node,
    ready: pe.Node,
    shapes: Mapping[str, Sequence[int]],
    settings: BenchmarkSettings,
) -> None:
    """Align brains without masks: rigid, then affine.

    Two people's brains differ in size, and inside masks mutual information does not see what lies outside of one of
    them: the affine may end worse than the rigid that it began with.
    """
    rigid, affine = _aligners(shapes=shapes, settings=settings)
    for end, shape in zip(('fixed', 'moving'), shapes.values(), strict=True):
        strip = pe.Node(Strip(), name=f'{end}_brain', mem_gb=gigabytes('n4', shape))
        workflow.connect([
            (inputnode, strip, [(f'{end}_preproc', 'in_file'), (f'{end}_mask', 'mask')]),
            (strip, rigid, [('out_file', end)]),
            (strip, affine, [('out_file', end)]),
        ])  # fmt:skip
    workflow.connect([
        (rigid, affine, [('out_matrix', 'initial')]),
        (affine, ready, [('out_matrix', 'affine')]),
    ])  # fmt:skip


def align_heads(
    workflow: pe.Workflow,
    *,
    inputnode: pe.Node,
    ready: pe.Node,
    shapes: Mapping[str, Sequence[int]],
    settings: BenchmarkSettings,
) -> None:
    """Align heads as the app does it: rigid on heads, then affine inside both masks, if it earns that."""
    rigid, affine = _aligners(shapes=shapes, settings=settings)
    linear = pe.Node(ChooseLinear(), name='linear', mem_gb=gigabytes('linear', *shapes.values()))
    workflow.connect([
        (inputnode, rigid, [('fixed_preproc', 'fixed'), ('moving_preproc', 'moving')]),
        (inputnode, affine, [
            ('fixed_preproc', 'fixed'),
            ('fixed_mask', 'fixed_mask'),
            ('moving_preproc', 'moving'),
            ('moving_mask', 'moving_mask'),
        ]),
        (rigid, affine, [('out_matrix', 'initial')]),
        (inputnode, linear, [
            ('fixed_preproc', 'fixed'),
            ('fixed_mask', 'fixed_mask'),
            ('moving_preproc', 'moving'),
        ]),
        (rigid, linear, [('out_matrix', 'rigid')]),
        (affine, linear, [('out_matrix', 'affine')]),
        (linear, ready, [('out_matrix', 'affine')]),
    ])  # fmt:skip


#: How two images with masks of their own are aligned, by the task.
ALIGNMENTS = {'inter': align_brains, 'intra': align_heads}


def _aligners(*, shapes: Mapping[str, Sequence[int]], settings: BenchmarkSettings) -> list[pe.Node]:
    """Make the nodes of the two stages, not yet connected."""
    mem_gb = gigabytes('prealign', *shapes.values())
    return [
        pe.Node(Prealign(stage=stage, seed=settings.random_seed, sloppy=settings.sloppy), name=stage, mem_gb=mem_gb)
        for stage in ('rigid', 'affine')
    ]
