#!/usr/bin/env python3
"""Measure the largest memory of every step of the app, and compare it with what the step declares.

    python experiments/memory.py BIDS_DIR [BIDS_DIR ...] [-- options of bidsreg]

Each step runs alone, in a process of its own, as a job of a cluster does. Memory is the largest sum of the resident
sets of that process and all it starts, looked at twenty times a second, or what the kernel noted as the largest of any
one of them, if that is more. Prints Markdown; GB are 1000 MB.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import nibabel as nb
import psutil
from bidsreg.workflows.app import init_bidsreg_wf
from nipype.pipeline.engine.utils import topological_sort
from nipype.pipeline.plugins.base import PluginBase
from nipype.pipeline.plugins.tools import create_pyscript

from bidsreg.bids.pairs import find_pairs
from bidsreg.cli import parse_settings
from bidsreg.execution.local import configure


class Watched(PluginBase):
    """Runs the steps one after another, each in a process that is watched."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, tuple[float, float]] = {}

    def run(self, graph, config, updatehash=False) -> None:
        """Run every node; ``seen`` is then the declared and the observed memory (GB) by full name."""
        for node in topological_sort(graph)[0]:
            if node.run_without_submitting:
                node.run()
                continue
            peak = watch([sys.executable, create_pyscript(node)])
            if not list(Path(node.output_dir()).glob(f'result_{node.name}.pklz')):
                sys.exit(f'{node.fullname} failed; see {node.output_dir()}')
            self.seen[node.fullname] = node.mem_gb, peak
            print(f'{node.fullname}: {node.mem_gb:.2f} {peak:.2f}', file=sys.stderr, flush=True)


def watch(command: list[str]) -> float:
    """Run a program to its end; the largest memory (GB) of it and what it started."""
    process, peak = psutil.Popen(command, stdout=subprocess.DEVNULL), 0
    while True:
        pid, _, used = os.wait4(process.pid, os.WNOHANG)
        if pid:
            return max(peak, used.ru_maxrss * 1024) / 1e9
        total = 0
        for one in [process, *_children(process)]:
            try:
                total += one.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        peak = max(peak, total)
        time.sleep(0.05)


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def measure(bids: Path, folder: Path, options: list[str]) -> dict[str, dict[str, tuple[float, float]]]:
    """Declared and observed memory (GB) of each step of each pair of a dataset, by a name with the images' shapes."""
    settings = parse_settings([str(bids), str(folder / 'out'), 'participant', '-w', str(folder / 'work'), *options])
    pairs = find_pairs(settings).pairs
    configure(settings, folder)
    workflow = init_bidsreg_wf(settings=settings, pairs=pairs)
    workflow.base_dir = str(settings.work_dir)
    workflow.run(plugin=(watched := Watched()))
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for pair in pairs:
        shapes = ' and '.join('x'.join(map(str, nb.load(path).shape)) for path in (pair.t1w, pair.t2w))
        parts = {name.partition(f'{pair.node_name}.')[2]: seen for name, seen in watched.seen.items() if seen}
        found[f'{pair.name}: {shapes}'] = {step: seen for step, seen in parts.items() if step}
    return found


def report(found: dict[str, dict[str, tuple[float, float]]]) -> None:
    """Print one row for each step, with declared, observed and their ratio for each pair."""
    print('\n'.join(f'{chr(65 + number)}: {name}' for number, name in enumerate(found)), end='\n\n')
    rows = defaultdict(list)
    for steps in found.values():
        for step, (declared, observed) in steps.items():
            rows[step].append(f'{declared:.2f} / {observed:.2f} ({declared / observed:.2f})')
    print('| step | ' + ' | '.join(chr(65 + number) for number in range(len(found))) + ' |')
    print('|---' * (len(found) + 1) + '|')
    for step, cells in rows.items():
        print(f'| {step} | ' + ' | '.join(cells) + ' |')


def main() -> None:
    """Read the command line, measure and report."""
    words = sys.argv[1:]
    cut = words.index('--') if '--' in words else len(words)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('bids_dir', type=Path, nargs='+')
    args = parser.parse_args(words[:cut])
    found: dict[str, dict[str, tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for number, bids in enumerate(args.bids_dir):
            folder = Path(scratch) / str(number)
            folder.mkdir()
            found |= measure(bids.resolve(), folder, words[cut + 1 :])
    report(found)


if __name__ == '__main__':
    main()
