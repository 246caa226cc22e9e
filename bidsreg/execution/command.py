"""What every command of this package has around its work: a quiet environment, and an exit code for every end."""

from __future__ import annotations

import getpass
import logging
import os
import signal
import sys
from collections.abc import Callable

from bidsreg.environment import wait_passively
from bidsreg.errors import InputError
from bidsreg.execution.signals import Interrupted


def silence_network() -> None:
    """Switch off what other packages look up on the network, and set what they need from the environment."""
    os.environ['NIPYPE_NO_ET'] = os.environ['NO_ET'] = '1'
    os.environ.setdefault('MPLBACKEND', 'Agg')
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container under a user without a name
        user = f'uid{os.getuid()}'
    os.environ.setdefault('LOGNAME', user)  # Nipype's SLURM plugin reads it


def exit_code(program: str, work: Callable[[], int]) -> int:
    """Do the work of a command and return its exit code.

    Parameters
    ----------
    program
        Its name, for messages.
    work
        Returns the exit code where all goes well.

    Returns
    -------
    int
        What the work returned; 2 when its input cannot be used; 128 + signal when it was interrupted.
    """
    wait_passively()
    silence_network()
    logging.captureWarnings(True)
    logging.raiseExceptions = False  # a log that cannot be written (full disk) must not bury the summary
    try:
        return work()
    except InputError as error:
        print(f'{program}: error: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:  # before the work began, or a second time
        print(f'{program}: interrupted', file=sys.stderr)
        return interrupted_code(error)


def interrupted_code(error: KeyboardInterrupt) -> int:
    """Return the exit code of a command that a signal ended: 128 and its number, that of SIGINT where none is known."""
    return 128 + (error.number if isinstance(error, Interrupted) else signal.SIGINT)
