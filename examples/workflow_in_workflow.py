#!/usr/bin/env python3
"""Put a graph of bidsreg into a Nipype workflow of your own.

    python examples/workflow_in_workflow.py T1w.nii.gz brain.nii.gz T2w.nii.gz OUT

takes a T1w with its brain mask, lets ``init_prealign_wf`` align the T2w with it, and has a node of its own that says
how far the T2w had to be moved. The other graphs are put in likewise: ``init_masking_wf`` before it,
``init_registration_wf`` behind it (docs/python-api.md).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe

from bidsreg.workflows.prealign import init_prealign_wf


def describe(matrix_file: str) -> str:
    """Say how far a matrix moves the origin; Nipype runs a function alone, so it imports what it needs."""
    import numpy as np

    from bidsreg.registration.itk import read_affine

    shift = np.linalg.norm(read_affine(matrix_file)[:3, 3])
    return f'the T2w lies {shift:.1f} mm from where the headers place it'


def init_motion_wf(*, sloppy: bool = False, name: str = 'motion_wf') -> pe.Workflow:
    """Build a graph that tells how a head has moved between its T1w and its T2w.

    Inputs
    ------
    t1w, brain_mask, t2w
        Images; the mask on the grid of the T1w.

    Outputs
    -------
    linear
        Matrix from the T1w's world to the T2w's (ITK .txt).
    sentence
        How far the T2w lies from where its header places it.
    """
    workflow = pe.Workflow(name=name)
    inputnode = pe.Node(niu.IdentityInterface(fields=['t1w', 'brain_mask', 't2w']), name='inputnode')
    outputnode = pe.Node(niu.IdentityInterface(fields=['linear', 'sentence']), name='outputnode')
    prealign_wf = init_prealign_wf(bias_correction='none', sloppy=sloppy)
    shift = pe.Node(niu.Function(function=describe, output_names=['sentence']), name='shift')
    workflow.connect(
        [
            (
                inputnode,
                prealign_wf,
                [('t1w', 'inputnode.fixed'), ('brain_mask', 'inputnode.fixed_mask'), ('t2w', 'inputnode.moving')],
            ),
            (prealign_wf, shift, [('outputnode.rigid', 'matrix_file')]),
            (prealign_wf, outputnode, [('outputnode.linear', 'linear')]),
            (shift, outputnode, [('sentence', 'sentence')]),
        ]
    )
    return workflow


def main(argv: Sequence[str] | None = None) -> int:
    """Run the workflow on the files that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ('t1w', 'brain_mask', 't2w', 'out'):
        parser.add_argument(name, type=Path)
    parser.add_argument('--sloppy', action='store_true', help='fast and bad, for trying things out')
    given = parser.parse_args(argv)
    motion_wf = init_motion_wf(sloppy=given.sloppy)
    motion_wf.base_dir = str(given.out.resolve())
    for name in ('t1w', 'brain_mask', 't2w'):  # every node works in a folder of its own: paths have to be absolute
        setattr(motion_wf.inputs.inputnode, name, str(getattr(given, name).resolve()))
    graph = motion_wf.run()
    (shift,) = (node for node in graph.nodes if node.name == 'shift')
    print(shift.result.outputs.sentence)
    return 0


if __name__ == '__main__':
    sys.exit(main())
