"""The app with pretended work: everything around the registration runs for real, and in a second.

What a pair does is told in the environment variable ``FAKE``, JSON: ``{'sub-01': 'raise', 'sub-02': 'slow'}``;
``raise`` an error, ``input`` an InputError, ``die`` as the system's memory killer has it, ``die-once`` the first time
only, ``die:24`` by that signal, ``slow`` takes long, ``late:-t 1`` sends its job with
these arguments and takes five minutes, ``tool`` is a program that fails,
``flip-once`` turns a bit of the file that its work left, before the next step reads it, the first time,
``huge`` declares more memory and ``wide`` more CPUs than a machine has, and ``hog:600`` takes that many MB while it
declares next to nothing. With ``--device cuda`` the work asks for a GPU, holds it for three seconds, and notes in
``gpu.txt`` which it was given, from when to when.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import types
from pathlib import Path

import nibabel as nib
import numpy as np
from nipype.interfaces.base import BaseInterfaceInputSpec, CommandLine, File, SimpleInterface, TraitedSpec, traits
from nipype.pipeline import engine as pe

from bidsreg.bids.headers import load_sane
from bidsreg.bids.names import PRODUCTS
from bidsreg.bids.publish import publish
from bidsreg.environment import ensure_utf8
from bidsreg.errors import InputError
from bidsreg.interfaces.base import Step, StepOutputSpec
from bidsreg.streams import outlive_readers

VARIABLE = 'FAKE'


def fake_files(pair, folder: Path) -> dict[str, Path]:
    """Make a small file for every product of a pair; images are valid ones on their grids."""
    folder.mkdir(parents=True, exist_ok=True)
    grids = {'t1': load_sane(pair.fixed), 't2': load_sane(pair.moving)}
    on_t2 = ('moving_mask', 'fixed_in_moving')
    files = {}
    for key, product in PRODUCTS.items():
        if key == 'qc':
            continue
        files[key] = folder / f'{key}{product.entities["extension"]}'
        if product.entities['extension'] == '.nii.gz':
            grid = grids['t2' if key in on_t2 else 't1']
            image = nib.Nifti1Image(np.ones(grid.shape, 'uint8' if 'mask' in key else 'float32'), grid.affine)
            image.header.set_xyzt_units('mm')
            image.set_qform(grid.affine, 1)
            image.to_filename(files[key])
        else:
            files[key].write_text(f'{key} of {pair.name}\n')
    return files


class _In(BaseInterfaceInputSpec):
    pair = traits.Any(mandatory=True)
    settings = traits.Any(mandatory=True, nohash=True)
    before = traits.Any()
    use_gpu = traits.Bool(False, usedefault=True)
    device = traits.Str('cpu', usedefault=True)


class _Out(TraitedSpec):
    done = traits.Bool()


class _WorkOut(StepOutputSpec):
    done = traits.Bool()
    out_file = File(exists=True)


class Work(Step):
    """Fails, dies or idles as it is told, or leaves a file."""

    input_spec, output_spec = _In, _WorkOut

    def _compute(self, runtime):
        name = self.inputs.pair.name
        what = json.loads(os.environ.get(VARIABLE, '{}')).get(name)
        with (self.inputs.settings.work_dir / 'begun.txt').open('a') as stream:
            stream.write(f'{name}\n')
        flag = self.inputs.settings.work_dir / f'{name}.died'
        if what == 'die' or (what == 'die-once' and not flag.exists()):
            flag.touch()
            time.sleep(0.3)
            os.kill(os.getpid(), signal.SIGKILL)
        if what and what.startswith('die:'):
            os.kill(os.getpid(), int(what[4:]))
        if what == 'raise':
            raise ValueError('the work went wrong')
        if what == 'input':
            raise InputError(f'{self.inputs.pair.moving}: is no good')
        if what == 'slow' or (what and what.startswith('late:')):
            time.sleep(60 if what == 'slow' else 300)
        if self.inputs.use_gpu:
            self._hold_gpu(name)
        if what and what.startswith('hog:'):
            np.ones(int(what[4:]) * 2**20, np.uint8).sum()
            time.sleep(3)  # some batch systems only look now and then
        self._results['done'] = True
        self._results['out_file'] = str(Path(runtime.cwd) / 'work.txt')
        Path(self._results['out_file']).write_text(name)

    def _hold_gpu(self, name: str) -> None:
        began = time.time()
        time.sleep(3)
        with (self.inputs.settings.work_dir / 'gpu.txt').open('a') as stream:
            stream.write(f'{name} {os.environ.get("CUDA_VISIBLE_DEVICES")} {began} {time.time()}\n')


class _FlipIn(_In):
    in_file = File(exists=True, mandatory=True)


class Flip(SimpleInterface):
    """Turns a bit of a file, once."""

    input_spec, output_spec = _FlipIn, _WorkOut

    def _run_interface(self, runtime):
        path = Path(self.inputs.in_file)
        flag = self.inputs.settings.work_dir / 'flipped'
        if not flag.exists():
            flag.touch()
            content = path.read_bytes()
            path.write_bytes(bytes([content[0] ^ 4]) + content[1:])
        self._results['out_file'] = str(path)
        return runtime


class _PublishIn(_In):
    in_file = File(exists=True)


class Publish(Step):
    """Publishes what a registration would leave."""

    input_spec, output_spec = _PublishIn, _WorkOut
    _always_run = True

    def _compute(self, runtime):
        pair = self.inputs.pair
        publish(fake_files(pair, Path(runtime.cwd)), pair, self.inputs.settings, {'jacobian': {'folds': 0}})
        self._results['done'] = True


class Tool(CommandLine):
    """A program that says what is wrong and fails."""

    output_spec = _Out

    def _list_outputs(self):
        return {'done': True}


def init_bidsreg_wf(*, settings, pairs, name='bidsreg_wf'):
    """Build a graph of the same form as the real one."""
    orders = json.loads(os.environ.get(VARIABLE, '{}'))
    workflow = pe.Workflow(name)
    for pair in pairs:
        inner = pe.Workflow(pair.node_name)
        order = orders.get(pair.name)
        interface = Work(pair=pair, settings=settings, use_gpu=settings.device == 'cuda')
        needs = {'mem_gb': 1e5 if order == 'huge' else 0.25, 'n_procs': 1000 if order == 'wide' else 1}
        work = pe.Node(interface, name='work', **needs)
        if order and order.startswith('late:'):
            work.plugin_args = dict.fromkeys(('sbatch_args', 'qsub_args'), order.partition(':')[2])
        if order == 'tool':
            work = pe.Node(Tool(command='sh', args='-c "echo no such weights >&2; exit 3"'), name='work')
        publish = pe.Node(Publish(pair=pair, settings=settings), name='publish')
        inner.connect(work, 'done', publish, 'before')
        if order == 'flip-once':
            flip = pe.Node(Flip(pair=pair, settings=settings), name='flip')
            inner.connect([(work, flip, [('out_file', 'in_file')]), (flip, publish, [('out_file', 'in_file')])])
        workflow.add_nodes([inner])
    return workflow


def install() -> None:
    """Put the pretended graph and report in the place of the real ones."""
    import bidsreg.reports

    module = types.ModuleType('bidsreg.workflows.app')
    module.init_bidsreg_wf = init_bidsreg_wf
    sys.modules['bidsreg.workflows.app'] = module
    bidsreg.reports.write_reports = write_reports


def write_reports(settings, plan, outcomes, normalisations=()) -> None:
    """Write the outcomes as they come."""
    told = [*outcomes, *normalisations]
    lines = [f'{outcome.pair_name or outcome.subject} {outcome.status}' for outcome in told]
    (settings.output_dir / 'report.txt').write_text('\n'.join(lines))


def main() -> int:
    """Run the app on the arguments of the process."""
    install()
    from bidsreg.cli import main as app

    return app()


if __name__ == '__main__':
    from tests import fake_app  # under a name that workers can import

    ensure_utf8()
    outlive_readers()
    sys.exit(fake_app.main())
