#!/usr/bin/env python3
"""Measure what the app itself costs for many subjects: finding pairs, building the graph, and running empty steps.

    python experiments/overhead.py [10 100 1000]

The images are tiny and the steps are replaced by ones that do nothing, in the app's real graph, run by its real plugin
in 8 processes, which it looks at 20 times a second. Prints Markdown: seconds (of the run: of the
main process's CPU, too), and the largest memory of the main process so far (MB).
"""

from __future__ import annotations

import multiprocessing
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

import nibabel as nb
import numpy as np
from nipype.interfaces.base import DynamicTraitedSpec, SimpleInterface
from nipype.interfaces.io import add_traits
from nipype.interfaces.utility import IdentityInterface


class Nothing(SimpleInterface):
    """Takes and gives what another interface does, and does nothing."""

    input_spec = output_spec = DynamicTraitedSpec

    def __init__(self, inputs: list[str] = (), outputs: list[str] = (), **given: object) -> None:
        super().__init__(**given)
        self._gives = list(outputs)
        add_traits(self.inputs, list(inputs))

    def _outputs(self):
        return add_traits(self.output_spec(), self._gives)

    def _run_interface(self, runtime):
        self._results = dict.fromkeys(self._gives, 1.0)
        return runtime


def make_dataset(folder: Path, subjects: int) -> Path:
    """Write a dataset of tiny images."""
    folder.mkdir()
    (folder / 'dataset_description.json').write_text('{"Name": "many", "BIDSVersion": "1.10.0"}')
    image = folder.parent / 'image.nii.gz'
    nb.save(nb.Nifti1Image(np.arange(512, dtype=np.int16).reshape(8, 8, 8), np.diag([20, 20, 20, 1])), image)
    for number in range(subjects):
        anat = folder / f'sub-{number:04}' / 'anat'
        anat.mkdir(parents=True)
        for suffix in ('T1w', 'T2w'):
            shutil.copy(image, anat / f'sub-{number:04}_{suffix}.nii.gz')
    return folder


def empty(workflow) -> int:
    """Put steps that do nothing in the place of all; how many there are."""
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


def measure(subjects: int, answer) -> None:
    """Go the way of a run of the app; put the row of the table into a queue."""
    from bidsreg.workflows.app import init_bidsreg_wf

    from bidsreg.app.work import graph_size
    from bidsreg.bids.pairs import find_pairs
    from bidsreg.execution import local as engine
    from bidsreg.execution.local import configure, run_graph
    from bidsreg.execution.logs import to_console, to_file
    from bidsreg.settings import Settings

    with tempfile.TemporaryDirectory() as scratch, to_console(0), to_file(Path(scratch) / 'bidsreg.log'):
        root = Path(scratch)
        settings = Settings(
            bids_dir=make_dataset(root / 'raw', subjects),
            output_dir=root / 'out', work_dir=root / 'work', nprocs=8, device='cpu', bids_database_dir=root / 'index',
        )  # fmt: skip
        row, began = [], time.perf_counter()

        def note() -> None:
            nonlocal began
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            row.append(f'{time.perf_counter() - began:.1f} s, {memory:.0f} MB')
            began = time.perf_counter()

        pairs = find_pairs(settings).pairs
        note()
        find_pairs(settings)
        note()
        engine.POLL_SECONDS = 0.05
        configure(settings, root)
        size, steps, spent = graph_size(settings), 0, dict.fromkeys(('graph', 'run', 'cpu'), 0.0)
        for start in range(0, len(pairs), size):  # as the app cuts them
            some, began = pairs[start : start + size], time.perf_counter()
            workflow = init_bidsreg_wf(settings=settings, pairs=some)
            workflow.base_dir = str(settings.work_dir)
            spent['graph'] += time.perf_counter() - began
            steps += empty(workflow)
            began, cpu = time.perf_counter(), time.process_time()
            end = run_graph(workflow, settings, {pair.node_name: pair.name for pair in some}, root)
            spent['run'] += time.perf_counter() - began
            spent['cpu'] += time.process_time() - cpu
            if end.error is not None:
                raise end.error
        row += [f'{seconds:.1f} s' for seconds in spent.values()]
        row[-1] += f', {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB'
    answer.put([str(subjects), str(steps), *row])


def main() -> None:
    """Measure each number of subjects in a process of its own."""
    print('| subjects | steps | index | index kept | graph | run of empty steps | its CPU |\n' + '|---' * 7 + '|')
    for subjects in map(int, sys.argv[1:] or ['10', '100', '1000']):
        context = multiprocessing.get_context('spawn')
        answer = context.Queue()
        process = context.Process(target=measure, args=(subjects, answer))
        process.start()
        process.join()
        if process.exitcode:
            sys.exit(process.exitcode)
        print('| ' + ' | '.join(answer.get()) + ' |', flush=True)


if __name__ == '__main__':
    main()
