#!/usr/bin/env python3
"""Measure the largest memory of every step of the app, and compare it with what the step declares.

    python experiments/memory.py BIDS_DIR [BIDS_DIR ...] [-- options of bidsreg]

Each step runs alone, in a process of its own, as a job of a cluster does. Memory is the largest sum of the resident
sets of that process and all it starts, looked at twenty times a second, or what the kernel noted as the largest of any
one of them, if that is more. Prints Markdown; GB are 1000 MB.
"""

from __future__ import annotations

import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common import head, new_parser, row, run_watched, split_options
from nipype.pipeline.engine.utils import topological_sort
from nipype.pipeline.plugins.base import PluginBase
from nipype.pipeline.plugins.tools import create_pyscript

from bidsreg.bids.images import load_image
from bidsreg.bids.pairs import find_pairs
from bidsreg.bids.ratios import find_ratios
from bidsreg.cli import parse_settings
from bidsreg.execution.local import configure
from bidsreg.workflows.app import init_bidsreg_wf
from bidsreg.workflows.pair_ratio import init_ratios_wf

#: Declared and observed GB of a step.
Gigabytes = tuple[float, float]


class WatchedPlugin(PluginBase):
    """Runs the steps of a graph one after another, each in a process that is watched.

    Attributes
    ----------
    seen : dict
        Declared and observed memory (GB) by full name of the node.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, Gigabytes] = {}

    def run(self, graph: Any, config: Any, updatehash: bool = False) -> None:
        """Run every node."""
        for node in topological_sort(graph)[0]:
            if node.run_without_submitting:
                node.run()
                continue
            command = [sys.executable, create_pyscript(node)]
            peak = run_watched(command, memory='rss', interval=0.05)[2] * 2**20 / 1e9
            if not list(Path(node.output_dir()).glob(f'result_{node.name}.pklz')):
                sys.exit(f'{node.fullname} failed; see {node.output_dir()}')
            self.seen[node.fullname] = node.mem_gb, peak
            print(f'{node.fullname}: {node.mem_gb:.2f} {peak:.2f}', file=sys.stderr, flush=True)


def measure(bids: Path, folder: Path, options: Sequence[str]) -> dict[str, dict[str, Gigabytes]]:
    """Measure each step of each pair of a dataset; by a name with the images' shapes, then by step."""
    settings = parse_settings([str(bids), str(folder / 'out'), 'participant', '-w', str(folder / 'work'), *options])
    plan = find_pairs(settings)
    configure(settings, folder)
    graphs = [('', init_bidsreg_wf(settings=settings, pairs=plan.pairs))]
    if units := find_ratios(plan, settings):
        graphs.append(('of the ratio: ', init_ratios_wf(settings=settings, units=units)))
    seen: dict[str, dict[str, Gigabytes]] = {}
    for room, workflow in graphs:
        workflow.base_dir = str(settings.work_dir)
        workflow.run(plugin=(watched := WatchedPlugin()))
        seen[room] = watched.seen
    found: dict[str, dict[str, Gigabytes]] = {}
    for pair in plan.pairs:
        shapes = ' and '.join('x'.join(map(str, load_image(path).shape)) for path in (pair.fixed, pair.moving))
        found[f'{pair.name}: {shapes}'] = {
            room + step: peaks
            for room, of_graph in seen.items()
            for name, peaks in of_graph.items()
            if (step := name.partition(f'{pair.node_name}.')[2])
        }
    return found


def report(found: Mapping[str, Mapping[str, Gigabytes]]) -> str:
    """Lay out one row for each step, with declared, observed and their ratio for each pair."""
    letters = [chr(ord('A') + number) for number in range(len(found))]
    rows = defaultdict(list)
    for steps in found.values():
        for step, (declared, observed) in steps.items():
            rows[step].append(f'{declared:.2f} / {observed:.2f} ({declared / observed:.2f})')
    names = [f'{letter}: {name}' for letter, name in zip(letters, found, strict=True)]
    return '\n'.join([*names, '', head('step', *letters), *(row(step, *cells) for step, cells in rows.items())])


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line, measure and report."""
    words, passed_on = split_options(argv)
    parser = new_parser(__doc__)
    parser.add_argument('bids_dir', type=Path, nargs='+', metavar='BIDS_DIR')
    args = parser.parse_args(words)
    found: dict[str, dict[str, Gigabytes]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for number, bids in enumerate(args.bids_dir):
            folder = Path(scratch) / str(number)
            folder.mkdir()
            found |= measure(bids.resolve(), folder, passed_on)
    print(report(found))


if __name__ == '__main__':
    main()
