"""The first room: the brain mask of the fixed image, and the image without its bias field."""

from __future__ import annotations

from collections.abc import Sequence

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe

from bidsreg.bids.lesions import Lesion
from bidsreg.interfaces.base import Timing
from bidsreg.interfaces.bias import N4
from bidsreg.interfaces.conform import Conform
from bidsreg.interfaces.lesions import FitLesions
from bidsreg.interfaces.skullstrip import BrainMask, SecondMask
from bidsreg.workflows.resources import TYPICAL_SHAPE, gigabytes


def init_masking_wf(
    *,
    skull_strip: str = 'auto',
    bias_correction: str = 'n4',
    is_uni: bool = False,
    user_mask: bool = False,
    contrast: str = 'T1w',
    lesions: Sequence[Lesion] = (),
    sloppy: bool = False,
    omp_nthreads: int = 1,
    shape: Sequence[int] = TYPICAL_SHAPE,
    name: str = 'masking_wf',
) -> pe.Workflow:
    """Build a graph that makes a T1w (or T2w) image sane, finds its brain, and corrects its bias field inside.

    Parameters
    ----------
    skull_strip
        ``auto``: an image that is stripped already keeps its mask, all others go to deepbet; ``force``: deepbet;
        ``skip``: the voxels that are not zero.
    bias_correction
        ``n4`` or ``none``.
    is_uni
        The T1w is the ``UNIT1`` of an MP2RAGE, whose air is full of noise.
    user_mask
        The user gives a mask: another one is found as without it, for the quality control to compare the two.
    contrast
        Suffix of the image, for the words of errors.
    lesions
        Files of the user that say where lesions of the scan are; the bias field is not estimated from them.
    sloppy
        Fewer iterations of N4, for trying things out.
    omp_nthreads
        Threads of a step; the brain extraction takes one less, N4 one, so that its result can be reproduced.
    shape
        Voxels of the image, from which the memory of the steps is estimated.
    name
        Name of the workflow.

    Inputs
    ------
    in_file
        The image, as it is.
    user_mask
        A brain mask of it. Optional; it is taken whatever ``skull_strip`` says.
    inversions
        Of a ``UNIT1``: the magnitude images of its two inversions. Optional.

    Outputs
    -------
    image
        The image with a header that every tool reads alike.
    mask
        Its brain mask, uint8.
    preproc
        The image without its bias field.
    method
        Words that say how the mask came about.
    second_mask, second_mask_method
        With ``user_mask``: the mask that is found without it, empty where none is, and how that came about.
    lesion, lesion_mask, lesion_method
        With ``lesions``: all of them in one mask on the grid of the image, which is not there where they are empty; the
        same, there in any case; and what was done to them.
    findings
        Texts that say what is unusual about the header.
    skull_stripped
        True when the image came without a skull.
    seconds
        Wall-clock seconds of each step, a dictionary.
    """
    workflow = pe.Workflow(name=name)
    inputnode = pe.Node(niu.IdentityInterface(fields=['in_file', 'user_mask', 'inversions']), name='inputnode')
    outputnode = pe.Node(
        niu.IdentityInterface(
            fields=[
                'image',
                'mask',
                'preproc',
                'method',
                'second_mask',
                'second_mask_method',
                'lesion',
                'lesion_mask',
                'lesion_method',
                'findings',
                'skull_stripped',
                'seconds',
            ]
        ),
        name='outputnode',
    )
    conform = pe.Node(Conform(is_uni=is_uni), name='conform', mem_gb=gigabytes('conform', shape))
    # one CPU is left to the rigid of the next room, which begins at the same time
    mask_threads = max(1, omp_nthreads - 1)
    brain_mask = pe.Node(
        BrainMask(mode=skull_strip, num_threads=mask_threads),
        name='brain_mask',
        n_procs=mask_threads,
        mem_gb=gigabytes('brain_mask', shape),
    )
    if contrast != 'T1w':
        brain_mask.inputs.contrast = contrast
    n4 = pe.Node(N4(method=bias_correction, sloppy=sloppy), name='n4', mem_gb=gigabytes('n4', shape))
    steps = ['conform', 'brain_mask', 'n4', *(['second_mask'] if user_mask else []), *(['lesion'] if lesions else [])]
    timing = pe.Node(Timing(steps), name='timing', run_without_submitting=True)
    workflow.connect([
        (inputnode, conform, [('in_file', 'in_file'), ('inversions', 'inversions')]),
        (inputnode, brain_mask, [('user_mask', 'user_mask')]),
        (conform, brain_mask, [('out_file', 'in_file')]),
        (conform, n4, [('out_file', 'in_file')]),
        (brain_mask, n4, [('out_mask', 'mask')]),
        (conform, timing, [('seconds', 'conform')]),
        (brain_mask, timing, [('seconds', 'brain_mask')]),
        (n4, timing, [('seconds', 'n4')]),
        (conform, outputnode, [
            ('out_file', 'image'),
            ('findings', 'findings'),
            ('skull_stripped', 'skull_stripped'),
        ]),
        (brain_mask, outputnode, [('out_mask', 'mask'), ('method', 'method')]),
        (n4, outputnode, [('out_file', 'preproc')]),
        (timing, outputnode, [('seconds', 'seconds')]),
    ])  # fmt:skip
    if lesions:
        lesion = fit_lesions_node(lesions, shape)
        workflow.connect([
            (conform, lesion, [('out_file', 'reference')]),
            (lesion, n4, [('out_file', 'lesion')]),
            (lesion, timing, [('seconds', 'lesion')]),
            (lesion, outputnode, [
                ('out_file', 'lesion'),
                ('out_mask', 'lesion_mask'),
                ('method', 'lesion_method'),
            ]),
        ])  # fmt:skip
    if user_mask:
        second_mask = pe.Node(
            # "skip" would take a whole head
            SecondMask(mode='auto' if skull_strip == 'skip' else skull_strip, num_threads=omp_nthreads),
            name='second_mask',
            n_procs=omp_nthreads,
            mem_gb=gigabytes('brain_mask', shape),
        )
        if contrast != 'T1w':
            second_mask.inputs.contrast = contrast
        workflow.connect([
            (conform, second_mask, [('out_file', 'in_file')]),
            (second_mask, timing, [('seconds', 'second_mask')]),
            (second_mask, outputnode, [('out_mask', 'second_mask'), ('method', 'second_mask_method')]),
        ])  # fmt:skip
    return workflow


def fit_lesions_node(lesions: Sequence[Lesion], shape: Sequence[int], name: str = 'lesion') -> pe.Node:
    """Return the node that brings lesions of the user onto the grid of their scan (of this shape), all in one mask."""
    files, values = [str(lesion.path) for lesion in lesions], [list(lesion.values) for lesion in lesions]
    return pe.Node(FitLesions(in_files=files, values=values), name=name, mem_gb=gigabytes('conform', shape))
