"""Crash files and plugins of Nipype: which node failed, for which cause, and what it said in one line."""

from __future__ import annotations

import errno
import logging
import os
import re
import signal
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bidsreg.outcome import Cause, Failure, signal_of

if TYPE_CHECKING:
    from nipype.pipeline.plugins.base import DistributedPluginBase as _Plugin
else:
    _Plugin = object  # crash files are read where Nipype is not loaded, too

LOGGER = logging.getLogger('bidsreg')

#: Names of exceptions, of whatever package, that stand for a cause.
CAUSES: Mapping[str, Cause] = {
    'InputError': Cause.BAD_INPUT,
    'ProcessKilledError': Cause.KILLED,
    'BrokenProcessPool': Cause.KILLED,
    'MemoryError': Cause.OUT_OF_MEMORY,
    '_ArrayMemoryError': Cause.OUT_OF_MEMORY,  # NumPy's
    'OutOfMemoryError': Cause.OUT_OF_MEMORY,  # PyTorch's
    'GpuFullError': Cause.OUT_OF_MEMORY,
    'DamagedFileError': Cause.DAMAGED,
    'ProcessEndedError': Cause.CANCELLED,
}

#: What programs and libraries say when a disk, or a user's share of it, is full.
_NO_SPACE = re.compile(
    rf'\[Errno ({errno.ENOSPC}|{errno.EDQUOT})\]|No space left on device|[Dd]isk quota exceeded'
    # of Python, when no folder for temporary files takes one
    r'|No usable temporary directory found'
)
#: What they say when they get no more memory of this machine; PyTorch's errors on the CPU have no class of their own.
NO_MEMORY = re.compile(r"not enough memory|[Cc]annot allocate memory|bad_alloc|bad allocation|can't allocate memory")
_HEADER = 'Traceback (most recent call last):'
_EXIT_CODE = re.compile(r'exited with code (-?\d+)')
#: Nipype looks for the results of a step that failed; where there are none, that error hides the one that counts.
_LOST_RESULT = re.compile(r'FileNotFoundError: .*result_\w+\.pklz')
_HANDLING = 'During handling of the above exception, another exception occurred:'
#: What Nipype may write below the traceback.
_AFTERTHOUGHTS = (
    'When creating this crashfile, the results file corresponding',
    'During the creation of this crashfile triggered by the above exception,',
)
#: Names of exceptions that say nothing to a user.
_EMPTY_NAMES = re.compile(
    r'^(?:[\w.]*\.)?(?:InputError|RuntimeError|ProcessKilledError|DamagedFileError|GpuFullError|NodeExecutionError): '
)


class FailureRecorder(_Plugin):
    """For plugins of Nipype: remember which nodes failed and why, and survive a crash file that cannot be written.

    Attributes
    ----------
    failures
        Why nodes failed, by their full names, in order.
    """

    def __init__(self, plugin_args: Mapping[str, Any] | None = None, **options: Any) -> None:
        super().__init__(plugin_args=plugin_args, **options)
        self.failures: dict[str, Failure] = {}

    def _report_crash(self, node: Any, result: Any = None) -> str | None:
        if result is not None and isinstance(result['traceback'], str):  # Nipype itself stumbles over a text
            result = {**result, 'traceback': result['traceback'].splitlines(keepends=True)}
        if result is not None:
            failure = result.get('failure') or read_traceback(''.join(result['traceback']).splitlines())
            self.failures[node.fullname] = replace(failure, step=last_name(node.fullname))
        try:
            path: str = super()._report_crash(node, result=result)
        except Exception as error:  # a full disk, say: losing the crash file must not end the run
            LOGGER.error('The crash file of %s could not be written: %s', node.fullname, error)
            return None
        if node.fullname in self.failures:
            self.failures[node.fullname] = replace(self.failures[node.fullname], crash_file=Path(path))
        return path


def last_name(fullname: str) -> str:
    """Return the name of a node without the workflows it is in."""
    return fullname.rpartition('.')[2]


def read_crash(path: Path) -> tuple[str, Failure]:
    """Read a crash file of Nipype.

    Returns
    -------
    node, failure
        Full name of the node, and why it failed.
    """
    lines = path.read_text(encoding='utf-8', errors='replace').splitlines()
    node = next((line.removeprefix('Node: ') for line in lines if line.startswith('Node: ')), '')
    return node, replace(read_traceback(lines), step=last_name(node), crash_file=path)


def read_traceback(lines: Sequence[str]) -> Failure:
    """Find cause and detail in a traceback, or in a crash file that ends in one.

    The cause is that of the class of the last exception, of the exit code of a program, or of a number of the system.
    The detail is the line that says most: what a program wrote last, or the message of the exception.
    """
    lines = _without_lost_result(lines)
    text = [line.strip() for line in lines if line.strip()]
    for marker in _AFTERTHOUGHTS:
        text = text[: text.index(marker)] if marker in text else text
    last = text[-1] if text else 'unknown'
    code = _EXIT_CODE.search(last)
    if code is not None and signal_of(int(code[1])) == signal.SIGKILL:
        return Failure(Cause.KILLED)
    cause = classify(_exception_line(lines) or last)
    if cause is Cause.FAILED:
        cause = _cause_in_words(last)
    if code is None:
        return Failure(cause, _shorten(last))
    said = _last_words(text)
    return Failure(_cause_in_words(said) if cause is Cause.FAILED else cause, _shorten(said) if said else last)


def classify(line: str) -> Cause:
    """Return the cause that the line ``package.Class: message`` of an exception stands for."""
    name = line.partition(':')[0].rpartition('.')[2].strip()
    if name in CAUSES:
        return CAUSES[name]
    return _cause_in_words(line)


def _cause_in_words(line: str) -> Cause:
    """Return the cause that a number of the system, or what libraries say for it, stands for."""
    if _NO_SPACE.search(line):
        return Cause.NO_SPACE
    return Cause.OUT_OF_MEMORY if NO_MEMORY.search(line) else Cause.FAILED


def _without_lost_result(lines: Sequence[str]) -> Sequence[str]:
    """Leave out of a traceback that Nipype found no results of a step that had failed, and all after it."""
    lost = next((number for number, line in enumerate(lines) if _LOST_RESULT.match(line.strip())), 0)
    before = [number for number in range(lost) if lines[number].strip() == _HANDLING]
    return lines[: before[-1]] if before else lines


def failure_of(error: BaseException) -> Failure:
    """Return the failure that an exception stands for; its name is part of the detail."""
    line = f'{type(error).__name__}: {error}'
    return Failure(classify(line), line)


def _exception_line(lines: Sequence[str]) -> str:
    """Find the line below the frames of the last traceback that has such a line; empty where there is none.

    A message may have many lines, and Nipype indents the traceback of a node: the line is the first one below the
    header that is indented as the header is.
    """
    headers = [number for number, line in enumerate(lines) if line.strip() == _HEADER]
    for number in reversed(headers):
        indent = lines[number][: lines[number].index(_HEADER)]
        for line in lines[number + 1 :]:
            if line.strip() and line.startswith(indent) and not line[len(indent)].isspace():
                return line.strip()
    return ''


def _last_words(text: Sequence[str]) -> str:
    """Return what a program that Nipype ran wrote to its standard error last; empty where it wrote nothing."""
    starts = [number for number, line in enumerate(text) if line == 'Stderr:']
    if not starts or 'Traceback:' not in text[starts[-1] :]:
        return ''
    said = text[starts[-1] + 1 : text.index('Traceback:', starts[-1])]
    return said[-1] if said else ''


def _shorten(line: str) -> str:
    return _EMPTY_NAMES.sub('', line)


def crashes(folder: Path, node_name: str) -> list[Failure]:
    """List the failures of a pair that crash files in a folder tell of, the oldest first.

    Parameters
    ----------
    folder
        Where Nipype writes its crash files.
    node_name
        Name of the pair's workflow.
    """
    found = []
    for path in sorted(folder.glob('crash-*.txt'), key=os.path.getmtime):
        node, failure = read_crash(path)
        if node_name in node.split('.'):
            found.append(failure)
    return found


def last_crash(logs: Path, node_name: str) -> Failure | None:
    """Return the last failure of a pair that the logs of all runs, in folders whose names sort by time, tell of."""
    newest_first = sorted((path for path in logs.glob('*') if path.is_dir()), reverse=True)
    return next((found[-1] for folder in newest_first if (found := crashes(folder, node_name))), None)
