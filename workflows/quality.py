"""The fourth room: numbers and pictures that say what the registration is worth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe

from bidsreg.bids.names import T2W_TO_T1W, Contrasts
from bidsreg.interfaces.draw import FILES, Draw
from bidsreg.interfaces.measure import MeasureQuality
from bidsreg.qc.facts import NOTES
from bidsreg.reports.pictures import PICTURES
from bidsreg.workflows.resources import TYPICAL_SHAPE, gigabytes, picture_gigabytes

#: Optional inputs of the graph, which it passes on to the facts.
OPTIONAL = ('rigid', 'second_mask', *NOTES)
#: What pictures of a pair are drawn from; the ratio has one in its own room.
DRAWN = tuple(name for name in FILES if name != 'ratio')


def init_quality_wf(
    *,
    fixed_shape: Sequence[int] = TYPICAL_SHAPE,
    moving_shape: Sequence[int] = TYPICAL_SHAPE,
    thresholds: Path | None = None,
    contrasts: Contrasts = T2W_TO_T1W,
    name: str = 'quality_wf',
) -> pe.Workflow:
    """Build a graph that gathers the numbers about one registration and draws its pictures.

    Parameters
    ----------
    fixed_shape, moving_shape
        Voxels of the images, from which the memory of the steps is estimated.
    thresholds
        TOML with thresholds of the verdict that differ from the package's own (``docs/quality.md``).
    contrasts
        Those of the two scans, for the names of facts and what is said of them.
    name
        Name of the workflow.

    Inputs
    ------
    fixed, fixed_mask
        Fixed scan, for example a T1w, and its brain mask.
    moving, moving_mask
        Moving scan, for example a T2w, and its brain mask.
    affine
        Matrix from the fixed world to the moving world (ITK .txt), the rigid or the affine that was kept.
    warped
        The moving scan on the fixed grid.
    forward, jacobian
        The transform that brings moving data onto the fixed grid (ITK composite), and the Jacobian determinant of its
        field on that grid.
    result
        ``result.json`` of ``bidsreg-pair``.
    fixed_lesion, moving_lesion, fixed_lesion_method, moving_lesion_method
        Optional: lesions that were left out of either scan, and which files say so.
    rigid, second_mask, mask_method, second_mask_method, moving_mask_method, prealign_start, linear, fixed_findings,
    moving_findings, fixed_skull_stripped, moving_skull_stripped, seconds
        Optional: what the other rooms know; it goes into the facts.

    Outputs
    -------
    facts
        A dictionary with everything known, see :func:`bidsreg.qc.facts.gather_facts`.
    facts_file
        The same as JSON.
    figures
        A list of SVG files, named as the pictures in :data:`bidsreg.reports.pictures.PICTURES`.
    """
    workflow = pe.Workflow(name=name)
    inputnode = pe.Node(niu.IdentityInterface(fields=[*DRAWN, *OPTIONAL]), name='inputnode')
    outputnode = pe.Node(niu.IdentityInterface(fields=['facts', 'facts_file', 'figures']), name='outputnode')
    measure = pe.Node(MeasureQuality(), name='measure', mem_gb=gigabytes('measure', fixed_shape, moving_shape))
    if thresholds is not None:
        measure.inputs.thresholds = str(thresholds)
    if contrasts.told:
        measure.inputs.contrasts = contrasts
    measured = [name for name in (*DRAWN, *OPTIONAL) if name in measure.inputs.copyable_trait_names()]
    workflow.connect([
        (inputnode, measure, [(name, name) for name in measured]),
        (measure, outputnode, [('facts', 'facts'), ('out_file', 'facts_file')]),
    ])  # fmt:skip
    pictures = {name: picture for name, picture in PICTURES.items() if 'ratio' not in picture.needs}
    figures = pe.Node(niu.Merge(len(pictures)), name='figures', run_without_submitting=True)
    for place, (name, picture) in enumerate(pictures.items(), 1):
        # "affine" and the like are names of inputs as well: a prefix tells the nodes from them
        memory = picture_gigabytes(name, fixed_shape, moving_shape)
        draw = pe.Node(Draw(picture=name), name=f'draw_{name}', mem_gb=memory)
        if contrasts.told:
            draw.inputs.contrasts = contrasts
        for field in (*picture.needs, *picture.uses):
            workflow.connect(inputnode, field, draw, field)
        workflow.connect(draw, 'out_file', figures, f'in{place}')
    workflow.connect(figures, 'out', outputnode, 'figures')
    return workflow
