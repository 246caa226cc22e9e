"""From a person to a template: affine, the deformation between two brains, and what is brought into the space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe

from bidsreg import SEED
from bidsreg.execution.devices import resolve
from bidsreg.interfaces.base import Timing
from bidsreg.interfaces.prealign import Prealign
from bidsreg.interfaces.register import Register
from bidsreg.interfaces.spaces import ChainTransforms, CutOut, DrawSpace, MeasureSpace, ScaledStart, ToSpace
from bidsreg.reports.spaces import SPACE_PICTURES
from bidsreg.settings import WORKING_RESOLUTION
from bidsreg.workflows.resources import TYPICAL_SHAPE, gigabytes, solver_gigabytes

#: The method between a person and a template: two brains of two people.
METHOD = 'node-mind-inter'


@dataclass(frozen=True)
class Along:
    """An image that is brought into the space beside the scans.

    Attributes
    ----------
    kind
        A key of :data:`bidsreg.preparation.spaces.BRINGING`.
    other
        The name of the other scan on whose grid it is; None: on that of the reference scan.
    """

    kind: str
    other: str | None = None


#: The steps whose seconds are kept.
STEPS = ('template_brain', 'scan_brain', 'rigid', 'affine', 'register', 'to_space')


def init_normalisation_wf(
    *,
    others: Sequence[str] = (),
    along: Mapping[str, Along] | None = None,
    device: str = 'cpu',
    working_resolution: float = WORKING_RESOLUTION,
    random_seed: int = SEED,
    sloppy: bool = False,
    omp_nthreads: int = 1,
    thresholds: Path | None = None,
    template_shape: Sequence[int] = TYPICAL_SHAPE,
    scan_shape: Sequence[int] = TYPICAL_SHAPE,
    name: str = 'normalisation_wf',
) -> pe.Workflow:
    """Build a graph that normalises a person to a template, and brings the person's scans into its space.

    The template is the fixed image, the person's reference scan, of whatever contrast, the moving one. Both are cut out
    by their masks for the linear steps, so that it does not matter whether the template has a skull.

    Parameters
    ----------
    others
        Names (letters and digits) of the person's other scans, each of which was registered to the reference scan.
    along
        Names of what else is brought into the space: maps and labels on the grids of these scans.
    device
        As for :func:`~bidsreg.workflows.init_registration_wf`.
    working_resolution
        Finest grid of the solver, mm.
    random_seed
        Seeds the sampling of the linear steps and the initial network.
    sloppy
        Few iterations, for trying things out.
    omp_nthreads
        Threads of the solver and of the resampling.
    thresholds
        TOML with thresholds of the verdict that differ from the package's own.
    template_shape, scan_shape
        Voxels of the images, from which the memory of the steps is estimated.
    name
        Name of the workflow.

    Inputs
    ------
    template, template_mask
        The template and its brain mask, on one grid.
    references
        A list of images, one on each grid that is wanted in the space.
    scan, scan_mask
        The person's reference scan without its bias field, and its brain mask.
    NAME_image, NAME_forward, NAME_inverse
        For each of `others`: the scan, and the ITK composites (.h5) that bring it onto the reference scan, and back.
    NAME_image
        For each of `along`: the image, on the grid of its scan.
    scan_lesion
        Lesions of the reference scan, on its grid, which neither the affine nor the deformation looks at. Optional.
    notes
        A dictionary of what else belongs into the facts. Optional.

    Outputs
    -------
    forward, inverse
        ITK composite transforms (.h5): bring data of the reference scan onto the template, and back.
    jacobian
        Jacobian determinant of the deformation, without the affine, on the grid of the template; above 1 where the
        person's brain is larger.
    images, masks
        The reference scan and its brain mask on each of the references, lists.
    NAME_forward, NAME_inverse, NAME_images
        The same of each of `others`: the two registrations in one file, and the scan with one interpolation.
    NAME_images
        Each of `along` on each of the references, with one interpolation, lists.
    facts
        A dictionary, see :func:`bidsreg.qc.normalisation.gather_normalisation`.
    figures
        A list of SVG files, named as the pictures in :data:`bidsreg.reports.spaces.SPACE_PICTURES`.
    """
    workflow = pe.Workflow(name=name)
    given = ['template', 'template_mask', 'references', 'scan', 'scan_mask', 'scan_lesion', 'notes']
    made = ['forward', 'inverse', 'jacobian', 'images', 'masks', 'facts', 'figures']
    along = along or {}
    parts = {part: [f'{other}_{part}' for other in others] for part in ('forward', 'inverse')}
    parts |= {part: [f'{name}_{part}' for name in (*others, *along)] for part in ('image', 'images')}
    inputnode = pe.Node(
        niu.IdentityInterface(fields=[*given, *parts['image'], *parts['forward'], *parts['inverse']]), name='inputnode'
    )
    outputnode = pe.Node(
        niu.IdentityInterface(fields=[*made, *parts['forward'], *parts['inverse'], *parts['images']]),
        name='outputnode',
    )
    shapes = template_shape, scan_shape
    device = resolve(device)
    gpu = device != 'cpu'
    template_brain = pe.Node(CutOut(), name='template_brain', mem_gb=gigabytes('cut_out', template_shape))
    scan_brain = pe.Node(CutOut(), name='scan_brain', mem_gb=gigabytes('cut_out', scan_shape))
    linear: dict[str, Any] = {'seed': random_seed, 'sloppy': sloppy}
    linear_gb = gigabytes('prealign', *shapes)
    rigid = pe.Node(Prealign(stage='rigid', **linear), name='rigid', mem_gb=linear_gb)
    scaled_start = pe.Node(ScaledStart(), name='scaled_start', mem_gb=gigabytes('cut_out', template_shape))
    affine = pe.Node(Prealign(stage='affine', **linear), name='affine', mem_gb=linear_gb)
    register = pe.Node(
        Register(
            method=METHOD,
            device=device,
            working_resolution=working_resolution,
            seed=random_seed,
            sloppy=sloppy,
            threads=omp_nthreads,
            use_gpu=gpu,
        ),
        name='register',
        n_procs=1 if gpu else omp_nthreads,
        mem_gb=solver_gigabytes(*shapes, working_resolution),
    )
    to_space = pe.Node(
        ToSpace(threads=omp_nthreads),
        name='to_space',
        n_procs=omp_nthreads,
        mem_gb=gigabytes('to_space', *shapes),
    )
    timing = pe.Node(Timing(STEPS), name='timing', run_without_submitting=True)
    measure = pe.Node(MeasureSpace(), name='measure', mem_gb=gigabytes('measure_space', *shapes))
    if thresholds is not None:
        measure.inputs.thresholds = str(thresholds)
    figures = pe.Node(niu.Merge(len(SPACE_PICTURES)), name='figures', run_without_submitting=True)
    workflow.connect([
        (inputnode, template_brain, [('template', 'in_file'), ('template_mask', 'mask')]),
        (inputnode, scan_brain, [('scan', 'in_file'), ('scan_mask', 'mask')]),
        (inputnode, scan_brain, [('template_mask', 'like')]),
        (template_brain, rigid, [('out_file', 'fixed')]),
        (scan_brain, rigid, [('sized_file', 'moving')]),
        (template_brain, affine, [('out_file', 'fixed')]),
        (scan_brain, affine, [('out_file', 'moving')]),
        (inputnode, affine, [
            ('template_mask', 'fixed_mask'),
            ('scan_mask', 'moving_mask'),
            ('scan_lesion', 'moving_lesion'),
        ]),
        (scan_brain, scaled_start, [('scaling', 'scaling')]),
        (rigid, scaled_start, [('out_matrix', 'rigid')]),
        (scaled_start, affine, [('out_matrix', 'initial')]),
        (inputnode, register, [
            ('template', 'fixed'),
            ('template_mask', 'fixed_mask'),
            ('scan', 'moving'),
            ('scan_mask', 'moving_mask'),
            ('scan_lesion', 'moving_lesion'),
        ]),
        (affine, register, [('out_matrix', 'affine')]),
        # numbers and pictures are of the template's own grid, whichever are wanted
        (inputnode, to_space, [
            ('scan', 'in_file'),
            ('scan_mask', 'mask'),
            ('references', 'references'),
            ('template', 'template'),
        ]),
        (register, to_space, [('forward', 'transform')]),
        *[(node, timing, [('seconds', node.name)])
          for node in (template_brain, scan_brain, rigid, affine, register, to_space)],
        (inputnode, measure, [
            (field, field) for field in ('template', 'template_mask', 'scan', 'scan_mask', 'scan_lesion', 'notes')
        ]),
        (rigid, measure, [('out_matrix', 'rigid')]),
        (affine, measure, [('out_matrix', 'affine')]),
        (register, measure, [('result', 'result')]),
        (to_space, measure, [('warped', 'warped'), ('warped_mask', 'warped_mask')]),
        (timing, measure, [('seconds', 'seconds')]),
        (register, outputnode, [(field, field) for field in ('forward', 'inverse', 'jacobian')]),
        (to_space, outputnode, [('out_files', 'images'), ('out_masks', 'masks')]),
        (measure, outputnode, [('facts', 'facts')]),
        (figures, outputnode, [('out', 'figures')]),
    ])  # fmt:skip
    for place, picture in enumerate(SPACE_PICTURES, 1):
        memory = gigabytes('draw_grid' if picture == 'spacegrid' else 'draw', *shapes)
        draw = pe.Node(DrawSpace(picture=picture), name=f'draw_{picture}', mem_gb=memory)
        workflow.connect([
            (inputnode, draw, [(field, field) for field in ('template', 'template_mask', 'scan', 'scan_lesion')]),
            (affine, draw, [('out_matrix', 'affine')]),
            (to_space, draw, [('warped', 'warped')]),
            (register, draw, [(field, field) for field in ('forward', 'jacobian')]),
            (draw, figures, [('out_file', f'in{place}')]),
        ])  # fmt:skip
    for other in others:
        _connect_other(
            workflow, other, omp_nthreads, gigabytes('chain', template_shape), gigabytes('to_space', *shapes)
        )
    for name, one in along.items():
        _connect_along(workflow, name, one, omp_nthreads, gigabytes('to_space', *shapes))
    return workflow


def _connect_other(workflow: pe.Workflow, other: str, threads: int, chain_gb: float, to_space_gb: float) -> None:
    """Bring another scan of the person along: its registration to the reference scan, then that to the template."""
    inputnode, register, outputnode = (workflow.get_node(name) for name in ('inputnode', 'register', 'outputnode'))
    chain = pe.Node(ChainTransforms(threads=threads), name=f'chain_{other}', n_procs=threads, mem_gb=chain_gb)
    bring = pe.Node(ToSpace(threads=threads), name=f'to_space_{other}', n_procs=threads, mem_gb=to_space_gb)
    workflow.connect([
        (register, chain, [('forward', 'first_forward'), ('inverse', 'first_inverse')]),
        (inputnode, chain, [(f'{other}_forward', 'then_forward'), (f'{other}_inverse', 'then_inverse')]),
        (inputnode, bring, [(f'{other}_image', 'in_file'), ('references', 'references')]),
        (chain, bring, [('forward', 'transform')]),
        (chain, outputnode, [('forward', f'{other}_forward'), ('inverse', f'{other}_inverse')]),
        (bring, outputnode, [('out_files', f'{other}_images')]),
    ])  # fmt:skip


def _connect_along(workflow: pe.Workflow, name: str, along: Along, threads: int, to_space_gb: float) -> None:
    """Bring a map or labels into the space as the scan is brought on whose grid they are."""
    inputnode, outputnode = workflow.get_node('inputnode'), workflow.get_node('outputnode')
    way = workflow.get_node(f'chain_{along.other}' if along.other else 'register')
    bring = pe.Node(
        ToSpace(kind=along.kind, threads=threads), name=f'to_space_{name}', n_procs=threads, mem_gb=to_space_gb
    )
    workflow.connect([
        (inputnode, bring, [(f'{name}_image', 'in_file'), ('references', 'references')]),
        (way, bring, [('forward', 'transform')]),
        (bring, outputnode, [('out_files', f'{name}_images')]),
    ])  # fmt:skip
