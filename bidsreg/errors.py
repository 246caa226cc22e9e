"""Errors that mean something to whoever catches them: bad input, killed processes, damaged files, a full GPU."""


class InputError(Exception):
    """Something the user gave cannot be used; the message says what, which file and what to do.

    Raised before any work it ends the run with exit code 2; raised inside a node it fails that pair only.
    """


class ProcessKilledError(RuntimeError):
    """A process that does part of the work was killed from outside, most often by the system for its memory.

    The same work may succeed when less runs beside it, so a run tries it once more.
    """


class ProcessEndedError(RuntimeError):
    """A process that does part of the work was asked to end by somebody: by SIGTERM or SIGINT."""


class GpuFullError(RuntimeError):
    """The memory of a GPU does not suffice; more memory of the machine does not help."""


class DamagedFileError(RuntimeError):
    """A file of the work folder is not as the step that made it had left it; nothing may be made of it.

    The step is marked, so that a run that tries the work once more does it again.
    """
