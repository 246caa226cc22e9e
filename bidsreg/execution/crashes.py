"""Crash files and causes: what went wrong in a graph, in one line."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

LOGGER = logging.getLogger('bidsreg')

KILLED = 'a process was killed, most often because memory ran out: give more memory, or run fewer at once (--mem)'


class CausesTold:
    """For plugins of Nipype: remembers which nodes failed and why, and survives a crash file that cannot be written.

    Attributes
    ----------
    failures
        Full names of the nodes that failed, in order, and in one line why.

    """

    def __init__(self, plugin_args: Mapping[str, Any] | None = None, **options: Any) -> None:
        super().__init__(plugin_args=plugin_args, **options)
        self.failures: dict[str, str] = {}

    def _report_crash(self, node, result=None):
        if result is not None and isinstance(result['traceback'], str):  # Nipype itself stumbles over a text
            result = {**result, 'traceback': result['traceback'].splitlines(keepends=True)}
        if result is not None:
            self.failures[node.fullname] = cause_in(''.join(result['traceback']).splitlines())
        try:
            return super()._report_crash(node, result=result)
        except Exception as error:  # a full disk, say: losing the crash file must not end the run
            LOGGER.error('The crash file of %s could not be written: %s', node.fullname, error)
            return None


def read_crash(path: Path) -> tuple[str, str]:
    """Read a crash file of Nipype.

    Returns
    -------
    node, cause
        Full name of the node, and in one line what went wrong.

    """
    lines = path.read_text(encoding='utf-8', errors='replace').splitlines()
    node = next((line.removeprefix('Node: ') for line in lines if line.startswith('Node: ')), '')
    return node, cause_in(lines)


def cause_in(lines: list[str]) -> str:
    """Find the line that says most: what the program wrote last, or the message of the exception."""
    text = [line.strip() for line in lines if line.strip()]
    for marker in _AFTERTHOUGHTS:
        text = text[: text.index(marker)] if marker in text else text
    last = text[-1] if text else 'unknown'
    code = re.search(r'exited with code (-?\d+)', last)
    if code is None:
        return _message(last)
    if code[1] in ('-9', '137'):
        return KILLED
    starts = [n for n, line in enumerate(text) if line == 'Stderr:']
    said = text[starts[-1] + 1 : text.index('Traceback:', starts[-1])] if starts and 'Traceback:' in text else []
    return _message(said[-1]) if said else last


#: What Nipype may write below the traceback.
_AFTERTHOUGHTS = (
    'When creating this crashfile, the results file corresponding',
    'During the creation of this crashfile triggered by the above exception,',
)


def _message(line: str) -> str:
    """Drop the name of an error class that says nothing to a user."""
    return re.sub(r'^(?:[\w.]*\.)?(?:InputError|RuntimeError|NodeExecutionError): ', '', line)


def crashes(folder: Path, node_name: str) -> list[tuple[Path, str, str]]:
    """List the crash files of a pair in a folder: file, node and cause, the oldest first."""
    found = []
    for path in sorted(folder.glob('crash-*.txt'), key=os.path.getmtime):
        node, cause = read_crash(path)
        if node_name in node.split('.'):
            found.append((path, node.rpartition('.')[2], cause))
    return found


def any_crash(folders: Iterable[Path], node_name: str) -> tuple[Path, str, str] | None:
    """Return the first crash of a pair in the first folder that has one."""
    return next((items[0] for folder in folders if (items := crashes(folder, node_name))), None)
