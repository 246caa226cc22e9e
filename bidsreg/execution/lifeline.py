"""Processes of a run end with the run, even when it is killed and cannot tell them.

Work that goes on alone would write into a folder in which the next run has started over.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from pathlib import Path

#: Names the process to follow, as ``pid:start``, in the environment of all its children.
VARIABLE = 'BIDSREG_LIFELINE'

_PR_SET_PDEATHSIG = 1
_hooked = False


def hold() -> None:
    """Make the processes that this one starts from now on end with it (where the system has ``/proc``)."""
    global _hooked
    identity = _identity(os.getpid())
    if identity is None:
        return
    os.environ[VARIABLE] = identity
    if not _hooked:
        os.register_at_fork(after_in_child=_begin_worker)
        _hooked = True


def release() -> None:
    """Let processes that are started from now on live on their own again."""
    os.environ.pop(VARIABLE, None)


def follow(interval: float = 1.0) -> None:
    """End this process when the one that holds the lifeline is gone; for programs started by a node."""
    identity = os.environ.get(VARIABLE)
    if identity:
        threading.Thread(target=_watch, args=(identity, interval), name='lifeline', daemon=True).start()


def _watch(identity: str, interval: float) -> None:
    while _identity(int(identity.partition(':')[0])) == identity:
        time.sleep(interval)
    os._exit(1)


def _identity(pid: int) -> str | None:
    """Tell a process from any later one with the same number by the time of its start; None when it is dead."""
    try:
        fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    except OSError:
        return None
    return None if fields[0] == 'Z' else f'{pid}:{fields[19]}'


def _begin_worker() -> None:
    """Set up a forked worker: killed with its parent, and deaf to Ctrl-C, which the parent answers."""
    if VARIABLE not in os.environ:
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    except (OSError, AttributeError):  # not Linux
        follow()
