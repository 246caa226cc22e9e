#!/usr/bin/env python3
"""Measure what the app itself costs for many subjects: finding pairs, building the graph, and running empty steps.

    python experiments/overhead.py [10 100 1000]

The images are tiny and the steps are replaced by ones that do nothing, in the app's real graph, run by its real plugin
in 8 processes, which it looks at 20 times a second. Prints Markdown: seconds (of the run also those of the main
process's CPU), and the largest memory of the main process so far (MB).
"""

from __future__ import annotations

import multiprocessing
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from common import head, new_parser, row
from nipype.interfaces.base import DynamicTraitedSpec, SimpleInterface
from nipype.interfaces.io import add_traits
from nipype.interfaces.utility import IdentityInterface


class Nothing(SimpleInterface):
    """Takes and gives what another interface does, and does nothing."""

    input_spec = output_spec = DynamicTraitedSpec

    def __init__(self, inputs: Sequence[str] = (), outputs: Sequence[str] = (), **given: object) -> None:
        super().__init__(**given)
        self._gives = list(outputs)
        add_traits(self.inputs, list(inputs))

    def _outputs(self) -> Any:
        return add_traits(self.output_spec(), self._gives)

    def _run_interface(self, runtime: Any) -> Any:
        self._results = dict.fromkeys(self._gives, 1.0)
        return runtime


def make_dataset(folder: Path, subjects: int) -> Path:
    """Write a dataset of tiny images."""
    folder.mkdir()
    (folder / 'dataset_description.json').write_text('{"Name": "many", "BIDSVersion": "1.10.0"}')
    image = folder.parent / 'image.nii.gz'
    nib.save(nib.Nifti1Image(np.arange(512, dtype=np.int16).reshape(8, 8, 8), np.diag([20, 20, 20, 1])), image)
    for number in range(subjects):
        anat = folder / f'sub-{number:04}' / 'anat'
        anat.mkdir(parents=True)
        for suffix in ('T1w', 'T2w'):
            shutil.copy(image, anat / f'sub-{number:04}_{suffix}.nii.gz')
    return folder


def empty(workflow: Any) -> int:
    """Put steps that do nothing in the place of all; return how many there are."""
    count = 0
    for name in workflow.list_node_names():
        node = workflow.get_node(name)
        if isinstance(node.interface, IdentityInterface):
            continue
        names = [sorted(spec.copyable_trait_names()) for spec in (node.inputs, node.outputs)]
        node._interface = Nothing(*names)
        node._hash = node._hashvalue = None
        count += 1
    return count


class Clock:
    """A clock that tells the seconds since it was last read."""

    def __init__(self) -> None:
        self.began = time.perf_counter()

    def lap(self) -> float:
        """Return the seconds, and start again."""
        before, self.began = self.began, time.perf_counter()
        return self.began - before


def peak_mb() -> float:
    """Return the largest resident memory of this process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(subjects: int, answer: Any) -> None:
    """Go the way of a run of the app; put the row of the table into a queue."""
    from bidsreg.execution.logs import to_console, to_file

    with tempfile.TemporaryDirectory() as scratch, to_console(0), to_file(Path(scratch) / 'bidsreg.log'):
        answer.put([str(subjects), *_measured(Path(scratch), subjects)])


def _measured(root: Path, subjects: int) -> list[str]:
    from bidsreg.app.work import graph_size
    from bidsreg.bids.pairs import find_pairs
    from bidsreg.execution import local
    from bidsreg.settings import Settings
    from bidsreg.workflows.app import init_bidsreg_wf

    settings = Settings(
        bids_dir=make_dataset(root / 'raw', subjects),
        output_dir=root / 'out',
        work_dir=root / 'work',
        nprocs=8,
        device='cpu',
        bids_database_dir=root / 'index',
    )
    clock, index = Clock(), []
    for _ in range(2):  # the second time the index is there
        pairs = find_pairs(settings).pairs
        index.append(f'{clock.lap():.1f} s, {peak_mb():.0f} MB')
    local.POLL_SECONDS = 0.05
    local.configure(settings, root)
    size, steps, graph, run, cpu = graph_size(settings), 0, 0.0, 0.0, 0.0
    for start in range(0, len(pairs), size):  # as the app cuts them
        some = pairs[start : start + size]
        clock.lap()
        workflow = init_bidsreg_wf(settings=settings, pairs=some)
        workflow.base_dir = str(settings.work_dir)
        graph += clock.lap()
        steps += empty(workflow)
        clock.lap()
        cpu_began = time.process_time()
        end = local.run_graph(workflow, settings, {pair.node_name: pair.name for pair in some}, root)
        run += clock.lap()
        cpu += time.process_time() - cpu_began
        if end.error is not None:
            raise end.error
    return [str(steps), *index, f'{graph:.1f} s', f'{run:.1f} s', f'{cpu:.1f} s, {peak_mb():.0f} MB']


def main(argv: Sequence[str] | None = None) -> None:
    """Measure each number of subjects in a process of its own."""
    parser = new_parser(__doc__)
    parser.add_argument('subjects', type=int, nargs='*', default=[10, 100, 1000], metavar='N', help='%(default)s')
    args = parser.parse_args(argv)
    print(head('subjects', 'steps', 'index', 'index kept', 'graph', 'run of empty steps', 'its CPU'))
    for subjects in args.subjects:
        context = multiprocessing.get_context('spawn')
        answer = context.Queue()
        process = context.Process(target=measure, args=(subjects, answer))
        process.start()
        process.join()
        if process.exitcode:
            sys.exit(process.exitcode)
        print(row(*answer.get()), flush=True)


if __name__ == '__main__':
    main()
