"""One pair of scans, from the files of the dataset to the derivatives."""

from __future__ import annotations

import typing

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe

from bidsreg.interfaces.base import Timing
from bidsreg.interfaces.sink import PublishPair
from bidsreg.workflows.masking import init_masking_wf
from bidsreg.workflows.prealign import init_prealign_wf
from bidsreg.workflows.quality import init_quality_wf
from bidsreg.workflows.registration import init_registration_wf
from bidsreg.workflows.resources import gigabytes, voxel_shape

if typing.TYPE_CHECKING:
    from bidsreg.bids.pairs import Pair
    from bidsreg.settings import Settings


def init_pair_wf(*, pair: Pair, settings: Settings, name: str | None = None) -> pe.Workflow:
    """Build the graph of one pair: the four rooms, and publishing.

    Parameters
    ----------
    pair
        The two scans, and the user's brain masks and lesions where there are any.
    settings
        The settings of the run.
    name
        Name of the workflow; by default the pair's own.

    Inputs
    ------
    fixed, moving, fixed_mask, moving_mask, inversions
        Set from the pair.

    Outputs
    -------
    out_file
        The QC file in the derivatives; when it is there, so is everything else.
    """
    shapes = {'fixed_shape': voxel_shape(pair.fixed), 'moving_shape': voxel_shape(pair.moving)}
    workflow = pe.Workflow(name=name or pair.node_name)
    inputnode = pe.Node(
        niu.IdentityInterface(fields=['fixed', 'moving', 'fixed_mask', 'moving_mask', 'inversions']), name='inputnode'
    )
    inputnode.inputs.fixed, inputnode.inputs.moving = str(pair.fixed), str(pair.moving)
    if pair.fixed_mask is not None:
        inputnode.inputs.fixed_mask = str(pair.fixed_mask)
    if pair.moving_mask is not None:
        inputnode.inputs.moving_mask = str(pair.moving_mask)
    if pair.inversions:
        inputnode.inputs.inversions = [str(path) for path in pair.inversions]
    outputnode = pe.Node(niu.IdentityInterface(fields=['out_file']), name='outputnode')

    masking_wf = init_masking_wf(
        skull_strip=settings.skull_strip,
        bias_correction=settings.bias_correction,
        is_uni=pair.is_uni,
        user_mask=pair.fixed_mask is not None,
        contrast=pair.fixed_contrast,
        lesions=pair.fixed_lesions,
        sloppy=settings.sloppy,
        omp_nthreads=settings.omp_nthreads,
        shape=shapes['fixed_shape'],
    )
    prealign_wf = init_prealign_wf(
        bias_correction=settings.bias_correction,
        random_seed=settings.random_seed,
        early_rigid=True,
        user_mask=pair.moving_mask is not None,
        lesions=pair.moving_lesions,
        sloppy=settings.sloppy,
        **shapes,
    )
    registration_wf = init_registration_wf(
        method=settings.method,
        device=settings.device,
        working_resolution=settings.working_resolution,
        random_seed=settings.random_seed,
        sloppy=settings.sloppy,
        omp_nthreads=settings.omp_nthreads,
        **shapes,
    )
    quality_wf = init_quality_wf(thresholds=settings.qc_thresholds, contrasts=pair.contrasts, **shapes)
    timing = pe.Node(Timing(['masking', 'prealign', 'registration']), name='timing', run_without_submitting=True)
    publish = pe.Node(PublishPair(pair=pair, settings=settings), name='publish', mem_gb=gigabytes('publish'))
    workflow.connect([
        (inputnode, masking_wf, [
            ('fixed', 'inputnode.in_file'),
            ('fixed_mask', 'inputnode.user_mask'),
            ('inversions', 'inputnode.inversions'),
        ]),
        (inputnode, prealign_wf, [('moving', 'inputnode.moving'), ('moving_mask', 'inputnode.moving_mask')]),
        (masking_wf, prealign_wf, [
            ('outputnode.image', 'inputnode.fixed_head'),
            ('outputnode.preproc', 'inputnode.fixed'),
            ('outputnode.mask', 'inputnode.fixed_mask'),
        ]),
        (masking_wf, registration_wf, [
            ('outputnode.preproc', 'inputnode.fixed'),
            ('outputnode.mask', 'inputnode.fixed_mask'),
        ]),
        (prealign_wf, registration_wf, [
            ('outputnode.preproc', 'inputnode.moving'),
            ('outputnode.mask', 'inputnode.moving_mask'),
            ('outputnode.linear', 'inputnode.affine'),
        ]),
        (masking_wf, timing, [('outputnode.seconds', 'masking')]),
        (prealign_wf, timing, [('outputnode.seconds', 'prealign')]),
        (registration_wf, timing, [('outputnode.seconds', 'registration')]),
        (timing, quality_wf, [('seconds', 'inputnode.seconds')]),
        (masking_wf, quality_wf, [
            ('outputnode.preproc', 'inputnode.fixed'),
            ('outputnode.mask', 'inputnode.fixed_mask'),
            ('outputnode.method', 'inputnode.mask_method'),
            ('outputnode.findings', 'inputnode.fixed_findings'),
            ('outputnode.skull_stripped', 'inputnode.fixed_skull_stripped'),
            *([(f'outputnode.{name}', f'inputnode.{name}') for name in ('second_mask', 'second_mask_method')]
              if pair.fixed_mask else []),
        ]),
        (prealign_wf, quality_wf, [
            ('outputnode.preproc', 'inputnode.moving'),
            ('outputnode.mask', 'inputnode.moving_mask'),
            ('outputnode.linear', 'inputnode.affine'),
            ('outputnode.rigid', 'inputnode.rigid'),
            ('outputnode.start', 'inputnode.prealign_start'),
            ('outputnode.linear_choice', 'inputnode.linear'),
            ('outputnode.findings', 'inputnode.moving_findings'),
            ('outputnode.skull_stripped', 'inputnode.moving_skull_stripped'),
            *([('outputnode.mask_method', 'inputnode.moving_mask_method')] if pair.moving_mask else []),
        ]),
        (registration_wf, quality_wf, [
            (f'outputnode.{field}', f'inputnode.{field}') for field in ('warped', 'forward', 'jacobian', 'result')
        ]),
        (masking_wf, publish, [('outputnode.preproc', 'fixed_preproc'), ('outputnode.mask', 'fixed_mask')]),
        (prealign_wf, publish, [
            ('outputnode.preproc', 'moving_preproc'),
            ('outputnode.mask', 'moving_mask'),
            ('outputnode.linear', 'affine_xfm'),
        ]),
        (registration_wf, publish, [
            ('outputnode.warped', 'moving_in_fixed'),
            ('outputnode.fixed_in_moving', 'fixed_in_moving'),
            ('outputnode.jacobian', 'jacobian'),
            ('outputnode.forward', 'forward_xfm'),
            ('outputnode.inverse', 'inverse_xfm'),
        ]),
        (quality_wf, publish, [('outputnode.facts', 'facts'), ('outputnode.figures', 'figures')]),
        (publish, outputnode, [('out_file', 'out_file')]),
    ])  # fmt:skip
    for end, room in (('fixed', masking_wf), ('moving', prealign_wf)):
        if getattr(pair, f'{end}_lesions'):
            _connect_lesion(workflow, end, room)
    return workflow


def _connect_lesion(workflow: pe.Workflow, end: str, room: pe.Workflow) -> None:
    """Lead the lesions of a scan (``fixed`` or ``moving``) from the room that reads them to all that look at it."""
    goals = [workflow.get_node(name) for name in ('registration_wf', 'quality_wf')]
    goals += [workflow.get_node('prealign_wf')] if end == 'fixed' else []
    for goal in goals:
        workflow.connect(room, 'outputnode.lesion', goal, f'inputnode.{end}_lesion')
    workflow.connect(
        room, 'outputnode.lesion_method', workflow.get_node('quality_wf'), f'inputnode.{end}_lesion_method'
    )
    workflow.connect(room, 'outputnode.lesion', workflow.get_node('publish'), f'{end}_lesion')
