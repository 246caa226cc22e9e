"""Start a program, give it its threads, repeat what it says and end it with this process."""

from __future__ import annotations

import ctypes
import logging
import shlex
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bidsreg.environment import for_threads
from bidsreg.outcome import describe_signal
from bidsreg.programs.errors import ProgramError

if TYPE_CHECKING:
    from bidsreg.programs.exchange import Workspace

LOGGER = logging.getLogger(__name__)

LAST_LINES = 15
"""So many of the last lines that a failed program said are in the error."""
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


def run_program(words: Sequence[str | Path], workspace: Workspace) -> None:
    """Run a command line in the folder of a workspace, on its threads; the program ends when this process does.

    Parameters
    ----------
    words : sequence of str or Path
        The program and its arguments.
    workspace : Workspace
        Says where, on how many threads, and whether the lines of the program are repeated on stderr.

    Raises
    ------
    ProgramError
        If the program cannot be started, or ends with another code than 0; with the last lines of what it said.
    """
    text = [str(word) for word in words]
    said: deque[str] = deque(maxlen=LAST_LINES)
    LOGGER.debug('%s', shlex.join(text))
    try:
        process = subprocess.Popen(
            text,
            cwd=workspace.folder,
            env=for_threads(workspace.threads),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors='replace',
            preexec_fn=_end_with_parent,
        )
    except OSError as error:
        raise ProgramError(f'{text[0]} cannot be started: {error.strerror}') from error
    with process:
        for line in process.stdout or ():
            if line.strip():
                said.append(line.strip())
                if not workspace.quiet:
                    print(line.rstrip(), file=sys.stderr, flush=True)
    if process.returncode:
        code = process.returncode
        how = describe_signal(-code) if code < 0 else f'ended with {code}'
        raise ProgramError(f'{Path(text[0]).name} {how}: ' + (' | '.join(said) or 'it said nothing'))


def _end_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def run_python(
    program: str, words: Sequence[str | Path], workspace: Workspace, module: str = 'bidsreg.programs.registry'
) -> None:
    """Call the method `child` of a program in a Python process of its own.

    The libraries in it see the threads of the workspace when they start, and what they break or keep ends with it.

    Parameters
    ----------
    program : str
        The name of the program in the registry.
    words : sequence of str or Path
        What `child` is given.
    workspace : Workspace
        As for `run_program`.
    module : str
        What the process imports first, since it knows only what is imported there: the module that puts the program
        into `bidsreg.programs.PROGRAMS`. A program of one's own gives the name of its module (``__name__``).

    Raises
    ------
    ProgramError
        As for `run_program`.
    """
    run_program([sys.executable, '-m', 'bidsreg.programs._child', module, program, *words], workspace)
