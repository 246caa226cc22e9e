"""The ratio of one pair, from what the finished pair has left to the derivatives and back there."""

from __future__ import annotations

import typing
from collections.abc import Sequence

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe

from bidsreg.bids.names import pair_outputs
from bidsreg.interfaces.conform import Conform
from bidsreg.interfaces.draw import Draw
from bidsreg.interfaces.publish_ratio import PublishRatio
from bidsreg.workflows.ratio import init_ratio_wf
from bidsreg.workflows.resources import gigabytes, picture_gigabytes, voxel_shape

if typing.TYPE_CHECKING:
    from bidsreg.bids.pairs import Pair
    from bidsreg.bids.ratios import RatioWork
    from bidsreg.settings import Settings


def init_ratios_wf(*, settings: Settings, units: Sequence[RatioWork], name: str = 'bidsreg_ratios_wf') -> pe.Workflow:
    """Build the graph of all ratios of a run, none of which can stop another.

    Parameters
    ----------
    settings
        The settings of the run.
    units
        The ratios; their pairs are finished.
    name
        Name of the workflow.
    """
    workflow = pe.Workflow(name=name)
    workflow.add_nodes([init_pair_ratio_wf(pair=unit.pair, settings=settings, name=unit.node_name) for unit in units])
    return workflow


def init_pair_ratio_wf(*, pair: Pair, settings: Settings, name: str = 'pair_ratio_wf') -> pe.Workflow:
    """Build the graph of the ratio of one finished pair, whichever of its two scans is the T1w.

    Parameters
    ----------
    pair
        The pair, which has left its images, masks and transforms in the derivatives.
    settings
        The settings of the run.
    name
        Name of the workflow.

    Inputs
    ------
    t1w, t2w
        The scans as they are in the dataset. They are set from the pair.

    Outputs
    -------
    out_file
        The map in the derivatives; when it is there, so is everything else.
    """
    ends = {pair.fixed_contrast: 'fixed', pair.moving_contrast: 'moving'}
    shapes = {f'{contrast.lower()}_shape': voxel_shape(getattr(pair, end)) for contrast, end in ends.items()}
    left = pair_outputs(pair, settings.output_dir)
    workflow = pe.Workflow(name=name)
    inputnode = pe.Node(niu.IdentityInterface(fields=['t1w', 't2w']), name='inputnode')
    inputnode.inputs.t1w, inputnode.inputs.t2w = (str(getattr(pair, ends[contrast])) for contrast in ('T1w', 'T2w'))
    outputnode = pe.Node(niu.IdentityInterface(fields=['out_file']), name='outputnode')
    t1w, t2w = (
        pe.Node(Conform(), name=name, mem_gb=gigabytes('conform', shapes[f'{name}_shape'])) for name in ('t1w', 't2w')
    )
    ratio_wf = init_ratio_wf(kind=settings.ratio, **shapes)
    inputs = ratio_wf.get_node('inputnode').inputs
    inputs.t1w_preproc, inputs.t2w_preproc = (str(left[f'{ends[contrast]}_preproc']) for contrast in ('T1w', 'T2w'))
    inputs.t1w_mask = str(left[f'{ends["T1w"]}_mask'])
    inputs.transform = str(left['forward_xfm' if ends['T1w'] == 'fixed' else 'inverse_xfm'])
    memory = picture_gigabytes('ratio', shapes['t1w_shape'], shapes['t2w_shape'])
    draw_ratio = pe.Node(Draw(picture='ratio'), name='draw_ratio', mem_gb=memory)
    publish = pe.Node(PublishRatio(pair=pair, settings=settings), name='publish', mem_gb=gigabytes('publish'))
    workflow.connect([
        (inputnode, t1w, [('t1w', 'in_file')]),
        (inputnode, t2w, [('t2w', 'in_file')]),
        (t1w, ratio_wf, [('out_file', 'inputnode.t1w')]),
        (t2w, ratio_wf, [('out_file', 'inputnode.t2w')]),
        (ratio_wf, draw_ratio, [('outputnode.ratio', 'ratio')]),
        (ratio_wf, publish, [
            ('outputnode.ratio', 'ratio'),
            ('outputnode.facts', 'facts'),
            ('outputnode.seconds', 'seconds'),
        ]),
        (draw_ratio, publish, [('out_file', 'figure')]),
        (publish, outputnode, [('out_file', 'out_file')]),
    ])  # fmt:skip
    return workflow
