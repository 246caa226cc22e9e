"""The third room: the diffeomorphism between the native images."""

from __future__ import annotations

from collections.abc import Sequence

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe

from bidsreg import SEED
from bidsreg.execution.devices import resolve
from bidsreg.interfaces.apply import Apply
from bidsreg.interfaces.base import Timing
from bidsreg.interfaces.register import Register
from bidsreg.programs import PROGRAMS
from bidsreg.settings import WORKING_RESOLUTION
from bidsreg.workflows.resources import TYPICAL_SHAPE, gigabytes, program_gigabytes, solver_gigabytes


def init_registration_wf(
    *,
    method: str = 'node-mind',
    device: str = 'cpu',
    working_resolution: float = WORKING_RESOLUTION,
    random_seed: int = SEED,
    sloppy: bool = False,
    omp_nthreads: int = 1,
    fixed_shape: Sequence[int] = TYPICAL_SHAPE,
    moving_shape: Sequence[int] = TYPICAL_SHAPE,
    name: str = 'registration_wf',
) -> pe.Workflow:
    """Build a graph that registers a T2w image to a T1w image with ``bidsreg-pair``.

    Both images stay on their native grids; each result is interpolated once.

    Parameters
    ----------
    method
        Name of a preset of :mod:`bidsreg.registration.presets`, or of a program of :mod:`bidsreg.programs`.
    device
        ``cpu``, ``cuda`` (any GPU), ``cuda:N``, or ``auto`` (a GPU where there is one, as the graph is built). A node
        that is not for the CPU counts as one GPU job. Most programs know the CPU only, and then get it for ``auto``.
    working_resolution
        Finest grid of the solver, mm. Programs work on the grid of the T1w.
    random_seed
        Seeds the initial network.
    sloppy
        Few iterations, for trying things out.
    omp_nthreads
        Threads of the solver.
    fixed_shape, moving_shape
        Voxels of the images, from which the memory of the steps is estimated.
    name
        Name of the workflow.

    Inputs
    ------
    fixed, fixed_mask
        T1w image and its brain mask.
    moving, moving_mask
        T2w image and its brain mask.
    fixed_lesion, moving_lesion
        Masks of lesions, which are not compared. Optional.
    affine
        Matrix from the T1w's world to the T2w's (ITK .txt or .mat). Optional; the identity without it.

    Outputs
    -------
    warped
        The T2w on the grid of the T1w.
    fixed_in_moving
        The T1w on the grid of the T2w.
    forward, inverse
        ITK composite transforms (.h5): bring T2w data onto the T1w's grid, and T1w data onto the T2w's.
    jacobian
        Jacobian determinant of the deformation, on the grid of the T1w.
    result
        Report of the solver on its work and on how good it is (JSON).
    seconds
        Wall-clock seconds of each step, a dictionary.
    """
    workflow = pe.Workflow(name=name)
    inputs = ['fixed', 'fixed_mask', 'fixed_lesion', 'moving', 'moving_mask', 'moving_lesion', 'affine']
    inputnode = pe.Node(niu.IdentityInterface(fields=inputs), name='inputnode')
    outputs = ['warped', 'forward', 'inverse', 'jacobian', 'result']
    outputnode = pe.Node(niu.IdentityInterface(fields=[*outputs, 'fixed_in_moving', 'seconds']), name='outputnode')
    program = PROGRAMS.get(method)
    if program is not None and not program.uses_gpu and device == 'auto':
        device = 'cpu'
    device = resolve(device)
    gpu = device != 'cpu'
    shapes = fixed_shape, moving_shape
    memory = program_gigabytes(*shapes) if program else solver_gigabytes(*shapes, working_resolution)
    register = pe.Node(
        Register(
            method=method,
            device=device,
            seed=random_seed,
            sloppy=sloppy,
            threads=omp_nthreads,
            use_gpu=gpu,
        ),
        name='register',
        # for a node on a GPU, Nipype takes the processes for GPUs
        n_procs=1 if gpu else omp_nthreads,
        mem_gb=memory,
    )
    if program is None:
        register.inputs.working_resolution = working_resolution
    fixed_in_moving = pe.Node(Apply(), name='fixed_in_moving', mem_gb=gigabytes('apply', fixed_shape, moving_shape))
    timing = pe.Node(Timing(['register', 'fixed_in_moving']), name='timing', run_without_submitting=True)
    workflow.connect([
        (inputnode, register, [(field, field) for field in inputs]),
        (inputnode, fixed_in_moving, [('fixed', 'in_file'), ('moving', 'reference')]),
        (register, fixed_in_moving, [('inverse', 'transforms')]),
        (register, timing, [('seconds', 'register')]),
        (fixed_in_moving, timing, [('seconds', 'fixed_in_moving')]),
        (register, outputnode, [(field, field) for field in outputs]),
        (fixed_in_moving, outputnode, [('out_file', 'fixed_in_moving')]),
        (timing, outputnode, [('seconds', 'seconds')]),
    ])  # fmt:skip
    return workflow
