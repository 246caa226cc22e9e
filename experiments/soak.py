#!/usr/bin/env python3
"""Disturb the app until all pairs are done, and see that nothing is lost.

    python experiments/soak.py FOLDER --pairs 200

Runs of one command are killed (SIGKILL), so are single steps of them; twice the disk of output and work folder is
filled for some seconds, and at times two runs work at once. When all pairs are done, every file below ``sub-*`` has to
have the bytes that an undisturbed run gave it; then the output is removed, and at times the work folder, and all begins
anew, until the time is over. The last run is left alone: it has to end with code 0, and to leave nothing half-written.
Prints what was done, and what differs; exits with 1 if anything does.

By default a step that copies stands in the place of the registration: everything around it is real, and a pair takes a
tenth of a second. ``--real`` registers, in voxels of 4 mm, and compares all but times and pages. FOLDER/disk is a small
disk of its own where this user may mount one; else no disk is filled, which is said. With ``--use-plugin`` jobs of
Slurm are cancelled, too, and its machines fail where this user may say so.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import types
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from common import new_parser
from nipype.interfaces.base import BaseInterfaceInputSpec, File, traits
from nipype.pipeline import engine as pe

from bidsreg.bids.names import PRODUCTS
from bidsreg.bids.publish import publish
from bidsreg.interfaces.base import Step, StepOutputSpec

FILLS = 2
"""How often the disk is filled."""
TIMES = ('seconds', 'peak_memory_mb', 'peak_gpu_memory_mb', 'cpu_seconds')
"""Keys of a QC file whose values differ from run to run: they begin so."""


# ------------------------------------------------------------------------------------- an app whose registration copies
class _CopyInputs(BaseInterfaceInputSpec):
    pair = traits.Any(mandatory=True)


class _CopyOutputs(StepOutputSpec):
    fixed = File(exists=True)
    moving = File(exists=True)


class Copy(Step):
    """Copies the two scans, and takes its time."""

    input_spec, output_spec = _CopyInputs, _CopyOutputs

    def _compute(self, runtime: Any) -> None:
        for name in ('fixed', 'moving'):
            self._results[name] = shutil.copy(getattr(self.inputs.pair, name), Path(runtime.cwd) / f'{name}.nii.gz')
        time.sleep(0.1)


class _PublishInputs(_CopyInputs):
    settings = traits.Any(mandatory=True, nohash=True)
    fixed = File(exists=True, mandatory=True)
    moving = File(exists=True, mandatory=True)


class Publish(Step):
    """Publishes the copies as what a registration would leave."""

    input_spec, output_spec = _PublishInputs, StepOutputSpec
    _always_run = True

    def _compute(self, runtime: Any) -> None:
        text = Path(runtime.cwd) / 'text'
        text.write_text(self.inputs.pair.name)
        files = {key: text for key in PRODUCTS if key != 'qc'}
        images = {key for key, product in PRODUCTS.items() if product.entities['extension'] == '.nii.gz'}
        files |= {key: Path(self.inputs.moving if key.startswith('moving') else self.inputs.fixed) for key in images}
        publish(files, self.inputs.pair, self.inputs.settings, {'jacobian': {'folds': 0}})


def init_bidsreg_wf(*, settings: Any, pairs: Sequence[Any], name: str = 'bidsreg_wf') -> pe.Workflow:
    """Build the graph of the app with two steps for each pair."""
    workflow = pe.Workflow(name)
    for pair in pairs:
        inner = pe.Workflow(pair.node_name)
        copy = pe.Node(Copy(pair=pair), name='copy', mem_gb=0.1)
        publish_pair = pe.Node(Publish(pair=pair, settings=settings), name='publish', mem_gb=0.1)
        inner.connect([(copy, publish_pair, [('fixed', 'fixed'), ('moving', 'moving')])])
        workflow.add_nodes([inner])
    return workflow


def run_app(argv: Sequence[str]) -> int:
    """Run the app with the graph of copies, and without pages, which take seconds each."""
    import bidsreg.reports
    from bidsreg.cli import main as app

    module: Any = types.ModuleType('bidsreg.workflows.app')
    module.init_bidsreg_wf = init_bidsreg_wf
    sys.modules['bidsreg.workflows.app'] = module
    bidsreg.reports.write_reports = lambda *_: ()
    return app(argv)


# ------------------------------------------------------------------------------------------------------------ the data
def make_dataset(folder: Path, pairs: int, real: bool) -> Path:
    """Write a dataset: the example head in voxels of 4 mm, or tiny images, once for each pair."""
    first = folder.parent / 'first'
    if real:
        subprocess.run([sys.executable, '-m', 'bidsreg.app.example', first, '--voxel', '4'], check=True)
        scans = {suffix: next(first.glob(f'sub-*/anat/*_{suffix}.nii.gz')) for suffix in ('T1w', 'T2w')}
    else:
        first.mkdir(parents=True)
        scans = {suffix: first / f'{suffix}.nii.gz' for suffix in ('T1w', 'T2w')}
        noise = np.random.default_rng(0).integers(0, 999, (16, 18, 16)).astype(np.int16)
        for path in scans.values():
            nib.save(nib.Nifti1Image(noise, np.diag([12, 12, 12, 1])), path)
    folder.mkdir()
    (folder / 'dataset_description.json').write_text('{"Name": "soak", "BIDSVersion": "1.10.0"}')
    for number in range(pairs):
        anat = folder / f'sub-{number:03}' / 'anat'
        anat.mkdir(parents=True)
        for suffix, path in scans.items():
            shutil.copy(path, anat / f'sub-{number:03}_{suffix}.nii.gz')
    return folder


def derivatives(out: Path, real: bool) -> dict[str, bytes]:
    """Return the files of all subjects by their names below the output folder; of a QC file without its times."""
    found = {}
    for path in sorted(out.glob('sub-*/**/*')):
        if not path.is_file():
            continue
        content = path.read_bytes()
        if real and path.name.endswith('_qc.json'):
            content = json.dumps(_without_times(json.loads(content))).encode()
        found[path.relative_to(out).as_posix()] = content
    return found


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_times(item) for key, item in value.items() if not key.startswith(TIMES)}
    return value


# ------------------------------------------------------------------------------------------------------- disturbances
def descendants(pid: int) -> list[int]:
    """Return the processes below one, those that are alive."""
    below: dict[int, list[int]] = {}
    for path in Path('/proc').glob('[0-9]*/stat'):
        try:
            fields = path.read_text().rpartition(')')[2].split()
        except OSError:  # it has just ended
            continue
        if fields[0] != 'Z':
            below.setdefault(int(fields[1]), []).append(int(path.parent.name))
    found, todo = [], [pid]
    while todo:
        children = below.get(todo.pop(), [])
        found += children
        todo += children
    return found


@dataclass
class Soak:
    """One soak: the command that is disturbed, and what was done to it.

    Parameters
    ----------
    command
        The command whose output and work folder lie below `place`.
    place
        A disk that may be filled, if `may_fill`.
    chance
        The source of all random choices.
    log
        What the runs say goes there.
    compare
        Returns what differs when all pairs are done.
    jobs
        Whether jobs of a Slurm are cancelled, too.
    """

    command: Sequence[str]
    place: Path
    may_fill: bool
    chance: random.Random
    log: Path
    compare: Callable[[], list[str]]
    jobs: bool = False
    done: Counter[str] = field(default_factory=Counter)

    def go(self, seconds: float, longest: float) -> list[str]:
        """Disturb runs for so many seconds, each after at most `longest` seconds; return what differs."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            runs = [self._start() for _ in range(self.chance.choice((1, 1, 2)))]
            self.done['two at once'] += len(runs) - 1
            while not any(run.poll() == 0 for run in runs) and time.monotonic() < end:
                self._wait(runs, self.chance.uniform(0.2, longest))
                alive = [run for run in runs if run.poll() is None]
                if not alive:
                    break
                self.chance.choice(self._disturbances())(self.chance.choice(alive))
            all_done = any(run.poll() == 0 for run in runs)
            for run in runs:
                run.kill()
                run.wait()
                self.done['runs'] += 1
            if all_done and (found := self._begin_anew()):
                return found
        return []

    def _begin_anew(self) -> list[str]:
        """Compare what is done, and remove it; at times the work folder stays."""
        self.done['rounds'] += 1
        found = self.compare()
        if not found:
            shutil.rmtree(self.place / 'out')
            if self.chance.random() < 0.5:
                shutil.rmtree(self.place / 'work')
        return found

    def finish(self) -> int:
        """Leave one run alone, and return its exit code."""
        return self._start().wait()

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open('ab') as log:
            return subprocess.Popen(self.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment())

    def _wait(self, runs: Sequence[subprocess.Popen[bytes]], seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and any(run.poll() is None for run in runs):
            time.sleep(0.05)

    def _disturbances(self) -> list[Callable[[subprocess.Popen[bytes]], None]]:
        kinds: list[Callable[[subprocess.Popen[bytes]], None]] = [self._kill_run, self._kill_step, self._kill_step]
        if self.may_fill and self.done['disk filled'] < FILLS:
            kinds.append(self._fill)
        if self.jobs:
            kinds += [self._cancel_job, self._cancel_job, self._lose_machine]
        return kinds

    def _kill_run(self, run: subprocess.Popen[bytes]) -> None:
        run.send_signal(signal.SIGKILL)
        run.wait()
        self.done['runs killed'] += 1

    def _kill_step(self, run: subprocess.Popen[bytes]) -> None:
        if steps := descendants(run.pid):
            try:
                os.kill(self.chance.choice(steps), signal.SIGKILL)
            except ProcessLookupError:  # it has just ended
                return
            self.done['steps killed'] += 1

    def _cancel_job(self, run: subprocess.Popen[bytes]) -> None:
        listed = subprocess.run(['squeue', '--me', '-h', '-o', '%i'], capture_output=True, text=True, check=False)
        if numbers := listed.stdout.split():
            subprocess.run(['scancel', self.chance.choice(numbers)], check=False)
            self.done['jobs cancelled'] += 1

    def _lose_machine(self, run: subprocess.Popen[bytes]) -> None:
        """Let the machines of the cluster fail, and come back, where this user may say so."""
        machines = subprocess.run(
            ['sinfo', '-h', '-o', '%N'], capture_output=True, text=True, check=False
        ).stdout.strip()
        set_state = ['scontrol', 'update', f'NodeName={machines}', 'Reason=soak']
        if subprocess.run([*set_state, 'State=DOWN'], capture_output=True, check=False).returncode == 0:
            self._wait([run], self.chance.uniform(1, 4))
            subprocess.run([*set_state, 'State=RESUME'], capture_output=True, check=False)
            self.done['machines lost'] += 1

    def _fill(self, run: subprocess.Popen[bytes]) -> None:
        """Fill the disk to the last byte, let the run go on for a while, and empty it."""
        ballast = self.place / 'ballast'
        try:
            with ballast.open('wb', buffering=0) as stream:
                while stream.write(bytes(2**16)):
                    pass
        except OSError:
            self.done['disk filled'] += 1
        self._wait([run], self.chance.uniform(2, 5))
        ballast.unlink()


def environment() -> dict[str, str]:
    """Return the environment of the app: jobs of a batch system look for the steps in this folder, too."""
    return {**os.environ, 'PYTHONPATH': os.pathsep.join([str(Path(__file__).parent), os.environ.get('PYTHONPATH', '')])}


def small_disk(place: Path, megabytes: int) -> bool:
    """Mount a disk of its own on a folder; tell whether that could be done."""
    place.mkdir()
    mount = ['mount', '-t', 'tmpfs', '-o', f'size={megabytes}m', 'tmpfs', str(place)]
    return os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0


def differences(disturbed: Path, alone: Path, real: bool) -> Iterator[str]:
    """Yield a line for each file that is missing, too many or different."""
    one, two = derivatives(disturbed, real), derivatives(alone, real)
    yield from (f'missing: {name}' for name in two.keys() - one.keys())
    yield from (f'too many: {name}' for name in one.keys() - two.keys())
    yield from (f'different: {name}' for name in one.keys() & two.keys() if one[name] != two[name])


def main(argv: Sequence[str] | None = None) -> int:
    """Soak, and return 0 when nothing was lost."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ['--run-app']:
        return run_app(words[1:])
    parser = new_parser(__doc__)
    parser.add_argument('folder', type=Path, metavar='FOLDER', help='a new folder for data and outputs')
    parser.add_argument('--pairs', type=int, default=200, metavar='N', help='%(default)s')
    parser.add_argument('--minutes', type=float, default=120, metavar='N', help='of disturbance (%(default)s)')
    parser.add_argument('--longest', type=float, default=12, metavar='S', help='seconds between two (%(default)s)')
    parser.add_argument('--megabytes', type=int, default=2000, metavar='N', help='of the small disk (%(default)s)')
    parser.add_argument('--real', action='store_true', help='register, instead of copying')
    parser.add_argument('--random-seed', type=int, default=0, metavar='N', help='of what is done when (%(default)s)')
    parser.add_argument('--use-plugin', type=Path, metavar='FILE', help='plugin file of a Slurm')
    args = parser.parse_args(words)
    folder = args.folder.resolve()
    folder.mkdir(parents=True)
    raw = make_dataset(folder / 'raw', args.pairs, args.real)
    mounted = small_disk(folder / 'disk', args.megabytes)
    if not mounted:
        print('No small disk could be mounted here: the disk is not filled.', flush=True)
    try:
        return _soak(args, folder, raw, mounted)
    finally:
        if mounted:
            subprocess.run(['umount', '-l', str(folder / 'disk')], check=True)


def _soak(args: Any, folder: Path, raw: Path, mounted: bool) -> int:
    app = ['-m', 'bidsreg'] if args.real else [__file__, '--run-app']
    more = [
        '--nprocs',
        '2',
        '--skip-bids-validation',
        *(['--sloppy', '--working-resolution', '4'] if args.real else []),
    ]

    def command(place: Path, *own: str) -> list[str]:
        words = [*app, raw, place / 'out', 'participant', '-w', place / 'work', *more, *own]
        return [sys.executable, *map(str, words)]

    subprocess.run(command(folder / 'alone'), check=True, capture_output=True, env=environment())
    plugin = ['--use-plugin', str(args.use_plugin)] if args.use_plugin else []
    place, log, alone = folder / 'disk', folder / 'runs.log', folder / 'alone' / 'out'
    soak = Soak(
        command(place, *plugin),
        place,
        mounted,
        random.Random(args.random_seed),
        log,
        compare=lambda: list(differences(place / 'out', alone, args.real)),
        jobs=bool(plugin),
    )
    found = soak.go(60 * args.minutes, args.longest)
    if not found:
        code = soak.finish()
        found = [f'the last run, which was left alone, ended with {code}: see {log}'] if code else []
        found += [*soak.compare(), *(f'left behind: {path}' for path in (place / 'out' / '.bidsreg' / 'tmp').glob('*'))]
    print(', '.join(f'{what}: {count}' for what, count in sorted(soak.done.items())), flush=True)
    print('\n'.join(found) or f'{args.pairs} pairs: every file is that of the undisturbed run', flush=True)
    return 1 if found else 0


if __name__ == '__main__':
    import soak  # under a name by which workers and jobs find the steps

    sys.exit(soak.main())
