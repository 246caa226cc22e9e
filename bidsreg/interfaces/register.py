"""The solver as a node: a thin command line around ``bidsreg-pair``."""

from __future__ import annotations

import os
import resource
import shlex
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nipype.interfaces.base import CommandLine, CommandLineInputSpec, File, TraitedSpec, traits

from bidsreg import SEED
from bidsreg.errors import GpuFullError, InputError
from bidsreg.interfaces.base import note_outputs, require_whole_inputs
from bidsreg.outcome import killed_error, signal_of
from bidsreg.programs.process import LAST_LINES

#: The errors that exit codes of ``bidsreg-pair`` stand for; any other one is a RuntimeError.
ERRORS: Mapping[int, type[Exception]] = {2: InputError, 3: GpuFullError}


class _RegisterInputSpec(CommandLineInputSpec):
    fixed = File(exists=True, mandatory=True, argstr='%s', position=0, desc='fixed scan, on its native grid')
    moving = File(exists=True, mandatory=True, argstr='%s', position=1, desc='moving scan, on its native grid')
    fixed_mask = File(exists=True, argstr='--fixed-mask %s', desc='brain mask on the fixed grid')
    moving_mask = File(exists=True, argstr='--moving-mask %s', desc='brain mask on the moving grid')
    fixed_lesion = File(exists=True, argstr='--fixed-lesion %s', desc='mask on the fixed grid of what must not count')
    moving_lesion = File(
        exists=True, argstr='--moving-lesion %s', desc='mask on the moving grid of what must not count'
    )
    affine = File(exists=True, argstr='--affine %s', desc='matrix, fixed world to moving world (ITK .txt or .mat)')
    method = traits.Str('node-mind', usedefault=True, argstr='--method %s', desc='name of a preset or a program')
    preset_file = File(exists=True, argstr='--preset-file %s', desc='TOML with settings that differ from the method')
    keep = traits.Enum(
        'better', 'diffeo', argstr='--keep %s', desc='diffeo: the deformation in any case, to compare methods'
    )
    device = traits.Str('cpu', usedefault=True, argstr='--device %s', desc='auto, cpu, cuda or cuda:N')
    seed = traits.Int(SEED, usedefault=True, argstr='--seed %d', desc='seeds the initial network')
    working_resolution = traits.Float(
        argstr='--working-resolution %g', desc='finest grid of the solver, mm; not for a program'
    )
    sloppy = traits.Bool(False, usedefault=True, argstr='--sloppy', desc='few iterations, for trying things out')
    threads = traits.Range(low=1, value=1, usedefault=True, argstr='--threads %d', nohash=True, desc='CPU threads')
    out_dir = traits.Str(
        'registration', usedefault=True, argstr='--out %s', desc='folder to make in the working folder'
    )
    use_gpu = traits.Bool(False, usedefault=True, desc='lets Nipype count this node as one that needs a GPU')


class _RegisterOutputSpec(TraitedSpec):
    warped = File(exists=True, desc='moving image on the fixed grid')
    forward = File(exists=True, desc='ITK composite that brings moving data onto the fixed grid')
    inverse = File(exists=True, desc='ITK composite that brings fixed data onto the moving grid')
    jacobian = File(exists=True, desc='Jacobian determinant on the fixed grid')
    result = File(exists=True, desc='what the solver did and how good it is, JSON')
    seconds = traits.Float(desc='wall-clock seconds the step took')
    cpu_seconds = traits.Float(desc='CPU seconds of the program and all that it started')


class Register(CommandLine):
    """Register two images by ``bidsreg-pair``, in a process of its own.

    torch lives in that process only, so Nipype's workers stay small and a GPU is never touched after a fork. Its
    progress lines go to Nipype's log; when it fails, its last words are in the error. The threads are not part of the
    node's hash: they change the time, and the result only in its last digits.
    """

    # as a module of this very Python: the environment's bin folder need not be on PATH
    _cmd = f'{shlex.quote(sys.executable)} -m bidsreg.pair'
    _terminal_output = 'stream'
    input_spec = _RegisterInputSpec
    output_spec = _RegisterOutputSpec
    _seconds = _cpu_seconds = 0.0

    def _run_interface(self, runtime: Any, correct_return_codes: tuple[int, ...] = (0,)) -> Any:
        require_whole_inputs(self.inputs)
        # an attempt that was killed may have left its folder
        shutil.rmtree(os.path.join(runtime.cwd, self.inputs.out_dir), ignore_errors=True)
        start, used = time.perf_counter(), children_cpu_seconds()
        runtime = super()._run_interface(runtime, correct_return_codes)
        self._seconds = round(time.perf_counter() - start, 3)
        self._cpu_seconds = round(children_cpu_seconds() - used, 3)
        if runtime.returncode not in correct_return_codes:
            raise failure(runtime.returncode, runtime.stderr or runtime.stdout or '')
        note_outputs(Path(runtime.cwd))
        return runtime

    def _list_outputs(self) -> dict[str, Any]:
        folder = os.path.abspath(self.inputs.out_dir)
        names = {
            'warped': 'warped.nii.gz',
            'forward': 'forward.h5',
            'inverse': 'inverse.h5',
            'jacobian': 'jacobian.nii.gz',
            'result': 'result.json',
        }
        files = {key: os.path.join(folder, name) for key, name in names.items()}
        return {**files, 'seconds': self._seconds, 'cpu_seconds': self._cpu_seconds}


def children_cpu_seconds() -> float:
    """Return the CPU seconds, user's and system's, of the children of this process that have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def failure(returncode: int, words: str) -> Exception:
    """Return the error for a program that failed; the last line of its message is the cause.

    Parameters
    ----------
    returncode
        Of the program, or of the shell that ran it.
    words
        What the program wrote; its last lines come before the cause.

    Returns
    -------
    Exception
        As :func:`bidsreg.outcome.killed_error` for a signal, else that of :data:`ERRORS`.
    """
    lines = [line.rstrip() for line in words.splitlines() if line.strip()][-LAST_LINES:]
    text = '\n'.join([*lines, f'bidsreg-pair failed (return code {returncode}):'])
    number = signal_of(returncode)
    if number is not None:
        return killed_error(f'{text} it', number)
    return ERRORS.get(returncode, RuntimeError)(f'{text} {lines[-1] if lines else "it said nothing"}')
