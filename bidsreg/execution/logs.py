"""Logs: a quiet console, and a file with everything, under a name that no other run has."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

#: Least level shown on the console, by how often ``-v`` was given.
CONSOLE = {
    'bidsreg': (logging.INFO, logging.INFO, logging.DEBUG),
    # Nipype prints whole tracebacks as errors; the summary says them in one line, the file has them
    'nipype': (logging.CRITICAL, logging.INFO, logging.DEBUG),
    'py.warnings': (logging.CRITICAL, logging.WARNING, logging.WARNING),
}
FILE = {'bidsreg': logging.DEBUG, 'nipype': logging.INFO, 'py.warnings': logging.WARNING}


def new_run_uuid() -> str:
    """Make a name for this run that sorts by time and never repeats."""
    return f'{time.strftime("%Y%m%d-%H%M%S")}_{uuid.uuid4()}'


@contextlib.contextmanager
def to_console(verbose: int) -> Iterator[None]:
    """Show what happens on the standard error stream, while the context lasts."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter('%(asctime)s %(levelname)-7s %(message)s', '%H:%M:%S'))
    nipype = logging.getLogger('nipype')
    others, nipype.handlers = nipype.handlers, []  # Nipype's own prints everything to stdout
    try:
        with _listen(handler, {name: levels[min(verbose, 2)] for name, levels in CONSOLE.items()}):
            yield
    finally:
        nipype.handlers = others


@contextlib.contextmanager
def to_file(path: Path) -> Iterator[None]:
    """Write what happens into a file, while the context lasts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding='utf-8')
    handler.setFormatter(logging.Formatter('%(asctime)s %(name)s %(levelname)s %(message)s'))
    with _listen(handler, FILE):
        yield


@contextlib.contextmanager
def _listen(handler: logging.Handler, levels: dict[str, int]) -> Iterator[None]:
    """Attach one handler to several loggers, each with a level of its own."""
    handler.addFilter(
        lambda record: any(_below(record.name, name) and record.levelno >= levels[name] for name in levels)
    )
    loggers = [logging.getLogger(name) for name in levels]
    for logger in loggers:
        logger.addHandler(handler)
    logging.getLogger('bidsreg').setLevel(logging.DEBUG)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        with contextlib.suppress(OSError):  # what a full disk did not take
            handler.close()


def _below(name: str, parent: str) -> bool:
    return name == parent or name.startswith(parent + '.')
