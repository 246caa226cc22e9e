"""What Python and the libraries of numbers are told when they start: letters, how threads wait, and garbage.

A library that has been loaded reads nothing more, so commands call `wait_passively` before they import one.
"""

from __future__ import annotations

import gc
import locale
import os
import sys
from collections.abc import Iterable, Mapping, MutableMapping

THREAD_VARIABLES = (
    'OMP_NUM_THREADS',
    'MKL_NUM_THREADS',
    'OPENBLAS_NUM_THREADS',
    'ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS',
)
"""Environment variables from which libraries read how many threads to use."""

PASSIVE: Mapping[str, str] = {
    # what the standard knows, and what each library has in its place
    'OMP_WAIT_POLICY': 'passive',
    # of GNU: rounds of a loop
    'GOMP_SPINCOUNT': '0',
    # of Intel and LLVM: milliseconds
    'KMP_BLOCKTIME': '0',
    # the logarithm of clock cycles; it takes no smaller one, and is 26 or 28 otherwise
    'OPENBLAS_THREAD_TIMEOUT': '4',
}
"""Threads without work sleep: those that spin take the time of other jobs, and are counted as CPU time."""


def ensure_utf8() -> None:
    """Start this process anew in Python's UTF-8 mode where the locale has ASCII or the like; those it starts follow.

    A path with any other letter could be neither written into a file nor handed to a program otherwise.
    """
    encodings = {sys.getfilesystemencoding(), locale.getpreferredencoding(False)}
    if {name.lower().replace('-', '') for name in encodings} == {'utf8'} or os.environ.get('PYTHONUTF8') == '1':
        return
    os.environ['PYTHONUTF8'] = '1'
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def put_off_collecting() -> None:
    """Let Python look for no garbage while libraries are loaded, until :func:`collect_again`.

    They are some hundred thousand objects that are there to stay; to go through them again and again takes a fifth of
    the time that it takes to load them.
    """
    gc.disable()


def collect_again() -> None:
    """Let Python look for garbage again where it was put off, but never among what is there now."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def wait_passively(environment: MutableMapping[str, str] = os.environ) -> None:
    """Set `PASSIVE` in an environment where it says nothing of its own; this process's by default."""
    for name, value in PASSIVE.items():
        environment.setdefault(name, value)


def one_thread_each(variables: Iterable[str] = THREAD_VARIABLES) -> None:
    """Let libraries in this process, and in those it starts, use one thread where the environment says nothing else."""
    for name in variables:
        os.environ.setdefault(name, '1')


def for_threads(threads: int) -> dict[str, str]:
    """Return this process's environment for a program that is to use so many threads, which wait passively."""
    environment = dict(os.environ) | dict.fromkeys(THREAD_VARIABLES, str(threads))
    wait_passively(environment)
    return environment
