"""What the scripts share: programs run and measured as processes of their own, bidsreg-pair, and tables in Markdown."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import psutil

from bidsreg.environment import THREAD_VARIABLES
from bidsreg.registration.deformation import Deformation
from bidsreg.registration.image import Image
from bidsreg.stripped import nonzero_mask

#: A small process starts the program and waits: the kernel counts the memory of the parent, as large as it is when it
#: starts a child, among the child's.
LAUNCHER = """
import json, os, sys, time
began = time.perf_counter()
_, status, used = os.wait4(os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ), 0)
facts = {'seconds': time.perf_counter() - began, 'cpu_seconds': used.ru_utime + used.ru_stime,
         'peak_mb': used.ru_maxrss / 1024, 'code': os.waitstatus_to_exitcode(status)}
json.dump(facts, open(sys.argv[1], 'w'))
"""


def new_parser(description: str | None) -> argparse.ArgumentParser:
    """Make a parser whose help shows a script's docstring as it stands."""
    return argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)


def split_options(argv: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """Split a command line (by default this process's) at ``--`` into a script's own words and those it passes on."""
    words = list(sys.argv[1:] if argv is None else argv)
    cut = words.index('--') if '--' in words else len(words)
    return words[:cut], words[cut + 1 :]


# ---------------------------------------------------------------------------------------------------- processes
@dataclass(frozen=True)
class Usage:
    """The time and memory that a program took.

    Attributes
    ----------
    seconds, cpu_seconds : float
        By the clock; of the CPUs, by the program and everything it waited for.
    peak_mb : float
        Largest resident set of any one of its processes, MB (2**20 bytes).
    """

    seconds: float
    cpu_seconds: float
    peak_mb: float


def run_measured(command: Sequence[str], folder: Path, *, threads: int) -> Usage:
    """Run a program to its end in a process of its own.

    Parameters
    ----------
    command : sequence of str
        The program and its arguments.
    folder : Path
        Where it runs; ``log.txt`` there gets what it says.
    threads : int
        Threads it is told to use, by the environment.

    Raises
    ------
    RuntimeError
        If the program fails; the message is the end of what it said.
    """
    log = folder / 'log.txt'
    with log.open('w') as stream:
        process = _launched(command, folder / 'launcher.json', stream, cwd=folder, threads=threads)
        process.wait()
    code, used = _ended(folder / 'launcher.json')
    if code:
        raise RuntimeError(f'ended with {code}: ' + ' '.join(log.read_text().split())[-400:])
    return used


def run_watched(
    command: Sequence[str], *, memory: str, interval: float, log: Path | None = None
) -> tuple[int, float, float]:
    """Run a program to its end, and look at the memory of it and all it starts meanwhile.

    Parameters
    ----------
    command : sequence of str
        The program and its arguments.
    memory : {'rss', 'uss'}
        What is added up over the processes: resident sets, in which shared pages count for each, or unique ones.
    interval : float
        Seconds between two looks.
    log : Path, optional
        File for what the program says; by default that is dropped.

    Returns
    -------
    code : int
        Its exit code, negative where a signal ended it.
    seconds : float
        By the clock.
    peak_mb : float
        MB: the largest sum seen, or what the kernel noted as the largest resident set of any one process, if resident
        sets are asked for and that is more.

    Raises
    ------
    RuntimeError
        If the process that starts the program is stopped.
    """
    peak = 0.0
    with tempfile.TemporaryDirectory() as folder, (log or Path(os.devnull)).open('w') as stream:
        process = _launched(command, Path(folder) / 'launcher.json', stream)
        while process.poll() is None:
            peak = max(peak, sum(_memory_of(one, memory) for one in _children(process.pid)) / 2**20)
            time.sleep(interval)
        code, used = _ended(Path(folder) / 'launcher.json')
    return code, used.seconds, max(peak, used.peak_mb) if memory == 'rss' else peak


def _launched(
    command: Sequence[str], report: Path, stream: IO[str], *, cwd: Path | None = None, threads: int | None = None
) -> subprocess.Popen[bytes]:
    """Start a program by the small process that measures it."""
    limits = {} if threads is None else dict.fromkeys(THREAD_VARIABLES, str(threads))
    words = [sys.executable, '-S', '-c', LAUNCHER, str(report), *command]
    return subprocess.Popen(words, env=os.environ | limits, stdout=stream, stderr=subprocess.STDOUT, cwd=cwd)


def _ended(report: Path) -> tuple[int, Usage]:
    """Read how a program has ended, and what it took."""
    if not report.exists():
        raise RuntimeError('it was stopped from outside')
    facts = json.loads(report.read_text())
    return facts.pop('code'), Usage(**facts)


def _children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _memory_of(process: psutil.Process, kind: str) -> int:
    """Return the bytes of a process; 0 when it has just ended."""
    try:
        return process.memory_full_info().uss if kind == 'uss' else process.memory_info().rss
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0


def pair_command(
    fixed: Path,
    moving: Path,
    out: Path,
    *,
    method: str,
    threads: int,
    options: Iterable[object] = (),
    device: str = 'cpu',
) -> list[str]:
    """Return the words that run bidsreg-pair quietly and keep the method's own answer."""
    words = [sys.executable, '-m', 'bidsreg.pair', fixed, moving, '--method', method, '--threads', threads]
    words += ['--device', device, '--keep', 'diffeo', '--quiet', '--out', out, *options]
    return [str(word) for word in words]


def read_result(out: Path) -> tuple[Deformation, dict[str, Any]]:
    """Read what bidsreg-pair has found into a folder: the deformation, and its result.json."""
    found = Deformation.load(out / 'forward.h5', out / 'inverse.h5')
    return found, json.loads((out / 'result.json').read_text(encoding='utf-8'))


# ---------------------------------------------------------------------------------------------------- images, points
def stripped_brain(image: Image) -> Image:
    """Return the mask of the brain in a skull-stripped image: the largest piece that is not zero, its holes filled."""
    inside = nonzero_mask(image.data)
    return Image(inside.astype(np.float32), image.grid)


# ---------------------------------------------------------------------------------------------------- Markdown
def row(*cells: object) -> str:
    """Return a line of a Markdown table."""
    return f'| {" | ".join(map(str, cells))} |'


def head(*cells: object) -> str:
    """Return the two lines that begin a Markdown table."""
    return f'{row(*cells)}\n|{"---|" * len(cells)}'
