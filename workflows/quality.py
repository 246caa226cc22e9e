"""The fourth room: what the registration is worth, in numbers and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bidsreg.workflows.resources import TYPICAL_SHAPE, gigabytes
from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe

from bidsreg.interfaces.apply import Apply
from bidsreg.interfaces.figures import Flicker, LossCurve, MaskOutline
from bidsreg.interfaces.measure import Measure

#: What the room passes on to :class:`~bidsreg.interfaces.measure.Measure`, where it is given.
NOTES = (
    'rigid',
    'mask_method',
    'prealign_start',
    't1w_findings',
    't2w_findings',
    't1w_skull_stripped',
    't2w_skull_stripped',
    'seconds',
)


def init_quality_wf(
    *,
    fixed_shape: Sequence[int] = TYPICAL_SHAPE,
    moving_shape: Sequence[int] = TYPICAL_SHAPE,
    thresholds: Path | None = None,
    name: str = 'quality_wf',
) -> pe.Workflow:
    """Build a graph that gathers the numbers about one registration and draws its pictures.

    Parameters
    ----------
    fixed_shape, moving_shape
        Voxels of the images, from which the memory of the steps is estimated.
    thresholds
        TOML with thresholds of the verdict that differ from the package's own (``docs/quality.md``).
    name
        Name of the workflow.

    Inputs
    ------
    fixed, fixed_mask
        T1w image and its brain mask.
    moving, moving_mask
        T2w image and its brain mask.
    affine
        Matrix from the T1w's world to the T2w's (ITK .txt).
    warped
        The T2w on the grid of the T1w.
    result
        ``result.json`` of ``bidsreg-pair``.
    rigid, mask_method, prealign_start, t1w_findings, t2w_findings, t1w_skull_stripped, t2w_skull_stripped, seconds
        Optional: what the other rooms know; it goes into the facts.

    Outputs
    -------
    facts
        Everything known, a dictionary; see :class:`~bidsreg.interfaces.measure.Measure`.
    facts_file
        The same as JSON.
    figure_mask_t1w, figure_mask_t2w
        Brain masks drawn on the images (SVG).
    figure_before, figure_affine, figure_diffeo
        T1w and T2w fading into each other, as the scanner placed them and after each step (SVG).
    figure_loss
        How the solver's loss fell (SVG).
    """
    workflow = pe.Workflow(name=name)
    inputnode = pe.Node(
        niu.IdentityInterface(
            fields=['fixed', 'fixed_mask', 'moving', 'moving_mask', 'affine', 'warped', 'result', *NOTES]
        ),
        name='inputnode',
    )
    outputnode = pe.Node(
        niu.IdentityInterface(
            fields=[
                'facts',
                'facts_file',
                'figure_mask_t1w',
                'figure_mask_t2w',
                'figure_before',
                'figure_affine',
                'figure_diffeo',
                'figure_loss',
            ]
        ),
        name='outputnode',
    )
    apply_gb = gigabytes('apply', fixed_shape, moving_shape)
    figure_gb = gigabytes('figure', fixed_shape, fixed_shape)
    measure = pe.Node(Measure(), name='measure', mem_gb=gigabytes('measure', fixed_shape, moving_shape))
    if thresholds is not None:
        measure.inputs.thresholds = str(thresholds)
    # only to be looked at: the T2w where the headers, and where the matrix alone, put it
    moving_before = pe.Node(Apply(), name='moving_before', mem_gb=apply_gb)
    moving_affine = pe.Node(Apply(), name='moving_affine', mem_gb=apply_gb)
    mask_t1w = pe.Node(MaskOutline(title='Brain mask on the T1w'), name='mask_t1w', mem_gb=figure_gb)
    mask_t2w = pe.Node(
        MaskOutline(title='Brain mask on the T2w'), name='mask_t2w', mem_gb=gigabytes('figure', moving_shape)
    )
    before = pe.Node(Flicker(title='As the scanner placed them'), name='before', mem_gb=figure_gb)
    affine = pe.Node(Flicker(title='After the affine alignment'), name='affine', mem_gb=figure_gb)
    diffeo = pe.Node(Flicker(title='After the deformable registration'), name='diffeo', mem_gb=figure_gb)
    loss = pe.Node(LossCurve(), name='loss', mem_gb=gigabytes('figure'))
    on_fixed = [('fixed', 'fixed'), ('fixed_mask', 'mask')]
    workflow.connect([
        (inputnode, measure, [
            (field, field)
            for field in ('fixed', 'fixed_mask', 'moving', 'moving_mask', 'affine', 'warped', 'result', *NOTES)
        ]),
        (inputnode, moving_before, [('moving', 'in_file'), ('fixed', 'reference')]),
        (inputnode, moving_affine, [('moving', 'in_file'), ('fixed', 'reference'), ('affine', 'transforms')]),
        (inputnode, mask_t1w, [('fixed', 'image'), ('fixed_mask', 'mask')]),
        (inputnode, mask_t2w, [('moving', 'image'), ('moving_mask', 'mask')]),
        (inputnode, before, on_fixed),
        (inputnode, affine, on_fixed),
        (inputnode, diffeo, [*on_fixed, ('warped', 'moving')]),
        (inputnode, loss, [('result', 'result')]),
        (moving_before, before, [('out_file', 'moving')]),
        (moving_affine, affine, [('out_file', 'moving')]),
        (measure, outputnode, [('facts', 'facts'), ('out_file', 'facts_file')]),
        (mask_t1w, outputnode, [('out_file', 'figure_mask_t1w')]),
        (mask_t2w, outputnode, [('out_file', 'figure_mask_t2w')]),
        (before, outputnode, [('out_file', 'figure_before')]),
        (affine, outputnode, [('out_file', 'figure_affine')]),
        (diffeo, outputnode, [('out_file', 'figure_diffeo')]),
        (loss, outputnode, [('out_file', 'figure_loss')]),
    ])  # fmt:skip
    return workflow
