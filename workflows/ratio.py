"""The ratio of the T1w and the T2w, once they are registered."""

from __future__ import annotations

from collections.abc import Sequence

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe

from bidsreg.interfaces.apply import Apply
from bidsreg.interfaces.base import Timing
from bidsreg.interfaces.ratio import Ratio
from bidsreg.workflows.resources import TYPICAL_SHAPE, gigabytes

#: What of each scan is divided, by the kind of ratio: bias that both scans share cancels in the scans as they are, but
#: not once lines with an intercept have been laid through their values.
DIVIDED = {'uncalibrated': ('t1w', 't2w'), 'calibrated': ('t1w_preproc', 't2w_preproc')}


def init_ratio_wf(
    *,
    kind: str = 'uncalibrated',
    t1w_shape: Sequence[int] = TYPICAL_SHAPE,
    t2w_shape: Sequence[int] = TYPICAL_SHAPE,
    name: str = 'ratio_wf',
) -> pe.Workflow:
    """Build a graph that brings a T2w onto the grid of its T1w, by one linear interpolation, and divides the two.

    Parameters
    ----------
    kind
        ``uncalibrated`` (the scans with their bias fields) or ``calibrated`` (those without, mapped to reference
        values): :data:`bidsreg.preparation.ratio.RATIOS`.
    t1w_shape, t2w_shape
        Voxels of the images, from which the memory of the steps is estimated.
    name
        Name of the workflow.

    Inputs
    ------
    t1w, t1w_preproc, t1w_mask
        The T1w with a sane header, the same without its bias field, and its brain mask.
    t2w, t2w_preproc
        The T2w with a sane header, and the same without its bias field.
    transform
        ITK transform that brings T2w data onto the grid of the T1w.

    Outputs
    -------
    ratio
        The ratio on the grid of the T1w.
    facts
        How it was made, and its medians in white and grey matter, a dictionary.
    seconds
        Wall-clock seconds of each step, a dictionary.
    """
    workflow = pe.Workflow(name=name)
    inputnode = pe.Node(
        niu.IdentityInterface(fields=['t1w', 't1w_preproc', 't1w_mask', 't2w', 't2w_preproc', 'transform']),
        name='inputnode',
    )
    outputnode = pe.Node(niu.IdentityInterface(fields=['ratio', 'facts', 'seconds']), name='outputnode')
    t1w, t2w = DIVIDED[kind]
    # the field lies around the brain of a whole head, of which the T1w has more voxels than a T2w in thick slices
    memory = gigabytes('apply', t1w_shape, t2w_shape)
    t2w_in_t1w = pe.Node(Apply(interpolation='linear'), name='t2w_in_t1w', mem_gb=memory)
    ratio = pe.Node(Ratio(kind=kind), name='ratio', mem_gb=gigabytes('ratio', t1w_shape))
    timing = pe.Node(Timing(['t2w_in_t1w', 'ratio']), name='timing', run_without_submitting=True)
    workflow.connect([
        (inputnode, t2w_in_t1w, [(t2w, 'in_file'), ('t1w', 'reference'), ('transform', 'transforms')]),
        (inputnode, ratio, [(t1w, 't1w'), ('t1w_mask', 'mask'), ('t1w_preproc', 'preproc')]),
        (t2w_in_t1w, ratio, [('out_file', 't2w')]),
        (t2w_in_t1w, timing, [('seconds', 't2w_in_t1w')]),
        (ratio, timing, [('seconds', 'ratio')]),
        (ratio, outputnode, [('out_file', 'ratio'), ('facts', 'facts')]),
        (timing, outputnode, [('seconds', 'seconds')]),
    ])  # fmt:skip
    return workflow
