"""The app with pretended work: everything around the registration runs for real, and in a second.

What a pair does is told in the environment variable ``FAKE``, JSON: ``{'sub-01': 'raise', 'sub-02': 'slow'}``;
``raise`` an error, ``input`` an InputError, ``die`` as the system's memory killer has it, ``die-once`` the first time
only, ``slow`` takes long, ``tool`` is a program that fails, ``huge`` declares more memory than a machine has, and
``hog:600`` takes that many MB while it declares next to nothing.
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
from nipype.interfaces.base import BaseInterfaceInputSpec, CommandLine, SimpleInterface, TraitedSpec, traits
from nipype.pipeline import engine as pe

from bidsreg.bids.derivatives import PRODUCTS, publish
from bidsreg.bids.headers import load_sane
from bidsreg.errors import InputError

VARIABLE = 'FAKE'


def fake_files(pair, folder: Path) -> dict[str, Path]:
    """Make a small file for every product of a pair; images are valid ones on their grids."""
    folder.mkdir(parents=True, exist_ok=True)
    grids = {'t1': load_sane(pair.t1w), 't2': load_sane(pair.t2w)}
    on_t2 = ('t2w_mask', 't1w_in_t2w')
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


class _Out(TraitedSpec):
    done = traits.Bool()


class Work(SimpleInterface):
    """Fails, dies or idles as it is told."""

    input_spec, output_spec = _In, _Out

    def _run_interface(self, runtime):
        name = self.inputs.pair.name
        what = json.loads(os.environ.get(VARIABLE, '{}')).get(name)
        with (self.inputs.settings.work_dir / 'begun.txt').open('a') as stream:
            stream.write(f'{name}\n')
        flag = self.inputs.settings.work_dir / f'{name}.died'
        if what == 'die' or (what == 'die-once' and not flag.exists()):
            flag.touch()
            time.sleep(0.3)
            os.kill(os.getpid(), signal.SIGKILL)
        if what == 'raise':
            raise ValueError('the work went wrong')
        if what == 'input':
            raise InputError(f'{self.inputs.pair.t2w}: is no good')
        if what == 'slow':
            time.sleep(60)
        if what and what.startswith('hog:'):
            np.ones(int(what[4:]) * 2**20, np.uint8).sum()
            time.sleep(3)  # some batch systems only look now and then
        self._results['done'] = True
        return runtime


class Publish(SimpleInterface):
    """Publishes what a registration would leave."""

    input_spec, output_spec = _In, _Out
    _always_run = True

    def _run_interface(self, runtime):
        pair = self.inputs.pair
        publish(fake_files(pair, Path(runtime.cwd)), pair, self.inputs.settings, {'jacobian': {'folds': 0}})
        self._results['done'] = True
        return runtime


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
        mem_gb = 1e5 if orders.get(pair.name) == 'huge' else 0.25
        work = pe.Node(Work(pair=pair, settings=settings), name='work', mem_gb=mem_gb)
        if orders.get(pair.name) == 'tool':
            work = pe.Node(Tool(command='sh', args='-c "echo no such weights >&2; exit 3"'), name='work')
        publish = pe.Node(Publish(pair=pair, settings=settings), name='publish')
        inner.connect(work, 'done', publish, 'before')
        workflow.add_nodes([inner])
    return workflow


def install() -> None:
    """Put the pretended graph and report in the place of the real ones."""
    import bidsreg.reports

    module = types.ModuleType('bidsreg.workflows.app')
    module.init_bidsreg_wf = init_bidsreg_wf
    sys.modules['bidsreg.workflows.app'] = module
    bidsreg.reports.write_reports = write_reports


def write_reports(settings, plan, outcomes) -> None:
    """Write the outcomes as they come."""
    lines = [f'{outcome.pair_name or outcome.subject} {outcome.status}' for outcome in outcomes]
    (settings.output_dir / 'report.txt').write_text('\n'.join(lines))


def main() -> int:
    """Run the app on the arguments of the process."""
    install()
    from bidsreg.cli import main as app

    return app()


if __name__ == '__main__':
    from tests import fake_app  # under a name that workers can import

    sys.exit(fake_app.main())
