"""Asking the programs of a batch system."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Sequence

#: How often a command that changes something is tried, and the seconds between.
TRIES, RETRY_SECONDS = 3, 2.0
TIMEOUT_SECONDS = 120

#: Troubles that pass.
_PASSING = re.compile(
    r'timed? ?out|unable to contact|temporarily|not responding|connection refused|cannot connect', re.I
)


class BatchSystemError(Exception):
    """The batch system did not take a job, or could not be asked; the message is its own."""


def ask(command: Sequence[str], tries: int = 1) -> str:
    """Run a program of the batch system.

    Returns
    -------
    str
        What it wrote to the standard output.

    Raises
    ------
    BatchSystemError
        With its own last words, when it failed ``tries`` times; only what may be better a moment later is tried again.
    """
    for left in range(tries - 1, -1, -1):
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, errors='replace', timeout=TIMEOUT_SECONDS
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BatchSystemError(f'{command[0]}: {error}') from error
        if done.returncode == 0:
            return done.stdout
        lines = (done.stderr.strip() or done.stdout.strip()).removesuffix('Exiting.').split('\n')  # so ends Grid Engine
        said = next((line for line in reversed(lines) if line.strip()), f'exit code {done.returncode}')
        if not left or not _PASSING.search(said):
            raise BatchSystemError(said)
        time.sleep(RETRY_SECONDS)
    raise ValueError('tries must be above 0')
