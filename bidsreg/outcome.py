"""What became of one pair (or of a subject that has none), and why something failed: an enum, and words at the edge."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from bidsreg.errors import ProcessEndedError, ProcessKilledError

Status = Literal['done', 'already done', 'failed', 'locked', 'no pair']


class Cause(StrEnum):
    """Why a step failed, or why a pair is not done; code decides by this, never by a sentence."""

    #: A process was killed from outside.
    KILLED = 'killed'
    #: A limit of memory was reached: Python's, the GPU's, or that of a job.
    OUT_OF_MEMORY = 'out of memory'
    #: A file system is full.
    NO_SPACE = 'no space'
    #: Something the user gave cannot be used.
    BAD_INPUT = 'bad input'
    #: A job ran longer than it was allowed to.
    TIME_LIMIT = 'time limit'
    #: A job or a process was cancelled or ended by somebody, or had to make room for others.
    CANCELLED = 'cancelled'
    #: A job was lost together with its machine.
    MACHINE_LOST = 'machine lost'
    #: The batch system did not take a job.
    REFUSED = 'refused'
    #: A step or a job ended without what it should have left.
    INCOMPLETE = 'incomplete'
    #: A file of the work folder was damaged since it was written.
    DAMAGED = 'damaged'
    #: The graph ended before the step was reached.
    BROKEN_OFF = 'broken off'
    #: Another step failed, and ``--stop-on-first-crash`` was given.
    STOPPED = 'stopped'
    #: The run was asked to end by a signal.
    INTERRUPTED = 'interrupted'
    #: No run has done it yet.
    NOT_DONE = 'not done'
    #: Another run has the pair.
    LOCKED = 'locked'
    #: The subject has no pair.
    NO_PAIR = 'no pair'
    #: Anything else; the message of the exception says more.
    FAILED = 'failed'


#: Causes after which the same work is tried once more, alone: it may have failed because of what ran beside it, or what
#: was damaged is made again.
RETRIED = frozenset({Cause.KILLED, Cause.BROKEN_OFF, Cause.DAMAGED})

#: Causes that, where the run was interrupted, most likely have the same reason.
ENDED_WITH_THE_RUN = frozenset({Cause.KILLED, Cause.CANCELLED})

#: Signals by which a person or a batch system asks a process to end.
ASK_TO_END = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})

_OFTEN_MEMORY = 'most often because memory ran out'
#: What helps when memory runs out.
MEMORY_ADVICE = 'give more memory, or run fewer at once (--mem)'

#: What a person reads where the cause alone says it.
SENTENCES: Mapping[Cause, str] = {
    Cause.KILLED: f'a process was killed, {_OFTEN_MEMORY}: {MEMORY_ADVICE}',
    Cause.INCOMPLETE: 'it ended without all of its outputs',
    Cause.BROKEN_OFF: 'the run was broken off before it was done',
    Cause.STOPPED: 'not finished, because another step crashed (--stop-on-first-crash)',
    Cause.INTERRUPTED: 'interrupted',
    Cause.NOT_DONE: 'not done yet',
    Cause.LOCKED: 'another run is working on it',
}


def signal_of(returncode: int) -> int | None:
    """Return the number of the signal that ended a process.

    Parameters
    ----------
    returncode
        As Python gives it (below zero), or as a shell does (128 and the number).

    Returns
    -------
    int or None
        None when the process ended by itself.
    """
    if returncode < 0:
        return -returncode
    return returncode - 128 if returncode > 128 else None


def describe_signal(number: int) -> str:
    """Say that a process was killed by a signal, and for SIGKILL why that most often happens."""
    text = f'was killed by signal {number}'
    return f'{text}, {_OFTEN_MEMORY}' if number == signal.SIGKILL else text


def killed_error(subject: str, number: int, advice: str = MEMORY_ADVICE) -> RuntimeError:
    """Return the error for a process that a signal ended.

    Parameters
    ----------
    subject
        Names the process; the message begins with it.
    number
        The signal.
    advice
        Says what helps after SIGKILL; other signals have nothing to do with memory.

    Returns
    -------
    RuntimeError
        A :class:`~bidsreg.errors.ProcessKilledError`, after which the work is tried again, for SIGKILL alone; a
        :class:`~bidsreg.errors.ProcessEndedError` for signals that ask a process to end.
    """
    text = f'{subject} {describe_signal(number)}'
    if number == signal.SIGKILL:
        return ProcessKilledError(f'{text}: {advice}')
    return ProcessEndedError(text) if number in ASK_TO_END else RuntimeError(text)


@dataclass(frozen=True)
class Failure:
    """Why a step failed, on its way from a crash file, a plugin or a batch system to the outcome of a pair.

    Parameters
    ----------
    cause
        What code decides by.
    detail
        What the exception, the program or the batch system said, in one line; empty where the cause says it all.
    step
        Where it failed: the name of the node, or of the check.
    crash_file
        Nipype's file with the whole traceback, where there is one.
    """

    cause: Cause
    detail: str = ''
    step: str = ''
    crash_file: Path | None = None

    @property
    def message(self) -> str:
        """Say why, in one line for people."""
        return _message(self.cause, self.detail)

    def as_note(self) -> dict[str, str]:
        """Return cause, step and detail as values that JSON can hold."""
        return {'cause': self.cause.value, 'step': self.step, 'detail': self.detail}

    @classmethod
    def of_note(cls, values: Mapping[str, Any]) -> Failure:
        """Make one of what :meth:`as_note` returned; a file may hold anything in its place."""
        cause = values.get('cause')
        known = Cause(cause) if isinstance(cause, str) and cause in set(Cause) else Cause.FAILED
        return cls(known, str(values.get('detail') or ''), str(values.get('step') or '?'))


@dataclass(frozen=True)
class Outcome:
    """The end of one pair, as the summary, the reports and the exit code tell it.

    Parameters
    ----------
    pair_name
        Name of the pair (empty where the subject has none).
    subject, session
        Labels without ``sub-`` and ``ses-``.
    status
        ``done`` in this run, ``already done`` by an earlier one, ``failed``, ``locked`` by another run,
        or ``no pair``.
    step, detail, crash_file, cause
        As :class:`Failure` has them; the cause is None for a pair that is done.
    """

    pair_name: str
    subject: str
    session: str | None
    status: Status
    step: str = ''
    detail: str = ''
    crash_file: Path | None = None
    cause: Cause | None = None

    @property
    def ok(self) -> bool:
        """Tell whether it allows exit code 0: a pair that another run still holds is not done."""
        return self.status not in ('failed', 'locked')

    @property
    def message(self) -> str:
        """Say why it is not done, in one line for people; empty for a pair that is done."""
        return _message(self.cause, self.detail)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as values that JSON can hold."""
        plain = asdict(self)
        return plain | {
            'crash_file': None if self.crash_file is None else str(self.crash_file),
            'cause': None if self.cause is None else self.cause.value,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Outcome:
        """Make one of what :meth:`as_dict` returned.

        Without ``detail`` there is a sentence under ``cause``: it becomes the detail, and the status gives the cause.

        Raises
        ------
        TypeError, ValueError, KeyError
            If the values are not those of an outcome.
        """
        given = dict(values)
        if 'detail' not in given:
            given['detail'], given['cause'] = given['cause'], _CAUSE_OF_STATUS.get(given['status'])
        given['cause'] = Cause(given['cause']) if given.get('cause') else None
        given['crash_file'] = Path(given['crash_file']) if given.get('crash_file') else None
        return cls(**given)


_CAUSE_OF_STATUS: Mapping[str, Cause] = {
    'failed': Cause.FAILED,
    'locked': Cause.LOCKED,
    'no pair': Cause.NO_PAIR,
}


def _message(cause: Cause | None, detail: str) -> str:
    return detail or ('' if cause is None else SENTENCES.get(cause, cause.value))
