"""The second room: one matrix from the T1w to the T2w, and with it the T2w's brain mask."""

from __future__ import annotations

from collections.abc import Sequence

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe

from bidsreg import SEED
from bidsreg.bids.lesions import Lesion
from bidsreg.interfaces.apply import Apply
from bidsreg.interfaces.base import Timing
from bidsreg.interfaces.bias import N4
from bidsreg.interfaces.conform import Conform
from bidsreg.interfaces.linear import ChooseLinear
from bidsreg.interfaces.masks import FitMask
from bidsreg.interfaces.prealign import Prealign
from bidsreg.workflows.masking import fit_lesions_node
from bidsreg.workflows.resources import TYPICAL_SHAPE, gigabytes


def init_prealign_wf(
    *,
    bias_correction: str = 'n4',
    random_seed: int = SEED,
    early_rigid: bool = False,
    user_mask: bool = False,
    lesions: Sequence[Lesion] = (),
    sloppy: bool = False,
    fixed_shape: Sequence[int] = TYPICAL_SHAPE,
    moving_shape: Sequence[int] = TYPICAL_SHAPE,
    name: str = 'prealign_wf',
) -> pe.Workflow:
    """Build a graph that aligns a T2w image with a T1w image by a matrix.

    Rigid on whole heads from several starts; the T1w's brain mask is carried to the T2w by the inverse of that, unless
    the T2w has one of its own; the T2w's bias field is corrected inside; then an affine inside both masks. All by ANTs
    with mutual information, on one thread and with a fixed seed, so that the same scans give the same matrix, bit for
    bit. The affine is kept if it earns what it stretches, by what was not maximised.

    Parameters
    ----------
    bias_correction
        ``n4`` or ``none``, for the moving image.
    random_seed
        Seeds the sampling of mutual information.
    early_rigid
        The rigid takes ``fixed_head``, so that it need not wait for the brain mask; otherwise ``fixed``.
    user_mask
        There is a mask of the moving image already; otherwise that of the fixed image is carried over.
    lesions
        Files of the user that say where lesions of the moving scan are; nothing is estimated from them.
    sloppy
        Fewer iterations on coarser images, for trying things out.
    fixed_shape, moving_shape
        Voxels of the images, from which the memory of the steps is estimated.
    name
        Name of the workflow.

    Inputs
    ------
    fixed
        T1w image, best without bias field: ``preproc`` of :func:`~bidsreg.workflows.masking.init_masking_wf`.
    fixed_head
        With ``early_rigid``: the same image with its bias field, ``image`` of that room.
    fixed_mask
        Its brain mask.
    moving
        T2w image, as it is.
    moving_mask
        With ``user_mask``: a brain mask of the T2w.
    fixed_lesion
        Optional: a mask of the lesions of the T1w, which nothing is estimated from.

    Outputs
    -------
    image
        The T2w with a header that every tool reads alike.
    mask
        Brain mask on the grid of the T2w.
    mask_method
        With ``user_mask``: words that say whose mask it is, and what was done to it.
    preproc
        The T2w without its bias field.
    rigid, affine
        ITK .txt, T1w world to T2w world: ``antsApplyTransforms -t`` brings the T2w onto the T1w with it.
    linear, linear_choice
        The one of the two that is kept, and a dictionary that says why
        (:class:`~bidsreg.preparation.linear.LinearChoice`).
    lesion, lesion_method
        With ``lesions``: all of them in one mask on the grid of the T2w, which is not there where they are empty, and
        what was done to them.
    start
        Words that say where the search started.
    findings
        Texts that say what is unusual about the T2w's header.
    skull_stripped
        True when the T2w came without a skull.
    seconds
        Wall-clock seconds of each step, a dictionary.
    """
    workflow = pe.Workflow(name=name)
    inputnode = pe.Node(
        niu.IdentityInterface(fields=['fixed', 'fixed_head', 'fixed_mask', 'fixed_lesion', 'moving', 'moving_mask']),
        name='inputnode',
    )
    outputnode = pe.Node(
        niu.IdentityInterface(
            fields=[
                'image',
                'mask',
                'mask_method',
                'lesion',
                'lesion_method',
                'preproc',
                'rigid',
                'affine',
                'linear',
                'linear_choice',
                'start',
                'findings',
                'skull_stripped',
                'seconds',
            ]
        ),
        name='outputnode',
    )
    alignment = {'seed': random_seed, 'sloppy': sloppy}
    alignment_gb = gigabytes('prealign', fixed_shape, moving_shape)
    conform = pe.Node(Conform(), name='conform', mem_gb=gigabytes('conform', moving_shape))
    rigid = pe.Node(Prealign(stage='rigid', **alignment), name='rigid', mem_gb=alignment_gb)
    moving_mask = pe.Node(
        FitMask() if user_mask else Apply(interpolation='genericLabel', invert=[True]),
        name='moving_mask',
        mem_gb=gigabytes('moving_mask', fixed_shape, moving_shape),
    )
    n4 = pe.Node(N4(method=bias_correction, sloppy=sloppy), name='n4', mem_gb=gigabytes('n4', moving_shape))
    affine = pe.Node(Prealign(stage='affine', **alignment), name='affine', mem_gb=alignment_gb)
    linear = pe.Node(ChooseLinear(), name='linear', mem_gb=gigabytes('linear', fixed_shape, moving_shape))
    steps = ['conform', 'rigid', 'moving_mask', 'n4', 'affine', 'linear', *(['lesion'] if lesions else [])]
    timing = pe.Node(Timing(steps), name='timing', run_without_submitting=True)
    workflow.connect([
        (inputnode, conform, [('moving', 'in_file')]),
        (inputnode, rigid, [('fixed_head' if early_rigid else 'fixed', 'fixed'), ('fixed_lesion', 'fixed_lesion')]),
        (conform, rigid, [('out_file', 'moving')]),
        (inputnode, moving_mask, [('moving_mask' if user_mask else 'fixed_mask', 'in_file')]),
        (conform, moving_mask, [('out_file', 'reference')]),
        (conform, n4, [('out_file', 'in_file')]),
        (moving_mask, n4, [('out_file', 'mask')]),
        (inputnode, affine, [(field, field) for field in ('fixed', 'fixed_mask', 'fixed_lesion')]),
        (n4, affine, [('out_file', 'moving')]),
        (moving_mask, affine, [('out_file', 'moving_mask')]),
        (rigid, affine, [('out_matrix', 'initial')]),
        (inputnode, linear, [(field, field) for field in ('fixed', 'fixed_mask', 'fixed_lesion')]),
        (n4, linear, [('out_file', 'moving')]),
        (rigid, linear, [('out_matrix', 'rigid')]),
        (affine, linear, [('out_matrix', 'affine')]),
        (conform, timing, [('seconds', 'conform')]),
        (rigid, timing, [('seconds', 'rigid')]),
        (moving_mask, timing, [('seconds', 'moving_mask')]),
        (n4, timing, [('seconds', 'n4')]),
        (affine, timing, [('seconds', 'affine')]),
        (linear, timing, [('seconds', 'linear')]),
        (conform, outputnode, [
            ('out_file', 'image'),
            ('findings', 'findings'),
            ('skull_stripped', 'skull_stripped'),
        ]),
        (moving_mask, outputnode, [('out_file', 'mask')]),
        (n4, outputnode, [('out_file', 'preproc')]),
        (rigid, outputnode, [('out_matrix', 'rigid'), ('start', 'start')]),
        (affine, outputnode, [('out_matrix', 'affine')]),
        (linear, outputnode, [('out_matrix', 'linear'), ('choice', 'linear_choice')]),
        (timing, outputnode, [('seconds', 'seconds')]),
    ])  # fmt:skip
    if lesions:
        lesion = fit_lesions_node(lesions, moving_shape)
        workflow.connect([
            (conform, lesion, [('out_file', 'reference')]),
            (lesion, rigid, [('out_file', 'moving_lesion')]),
            (lesion, n4, [('out_file', 'lesion')]),
            (lesion, affine, [('out_file', 'moving_lesion')]),
            (lesion, linear, [('out_file', 'moving_lesion')]),
            (lesion, timing, [('seconds', 'lesion')]),
            (lesion, outputnode, [('out_file', 'lesion'), ('method', 'lesion_method')]),
        ])  # fmt:skip
    if user_mask:
        workflow.connect(moving_mask, 'method', outputnode, 'mask_method')
    else:
        workflow.connect(rigid, 'out_matrix', moving_mask, 'transforms')
    return workflow
