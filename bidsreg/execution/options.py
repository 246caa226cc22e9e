"""The command-line options of :class:`~bidsreg.execution.settings.ExecutionSettings`, the same for every command."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from bidsreg.errors import InputError
from bidsreg.execution.machine import SHARE
from bidsreg.execution.settings import MOST_THREADS
from bidsreg.validation import as_path

#: Takes what ``argparse``'s ``add_argument`` takes.
Add = Callable[..., Any]

_MEMORY_UNITS = {'': 1e-3, 'k': 1e-6, 'm': 1e-3, 'g': 1.0, 't': 1e3}


def parse_memory(text: str) -> float:
    """Read an amount of memory as GB.

    Parameters
    ----------
    text
        A number with an optional unit (``16GB``, ``1.5G``, ``800MB``, ``2TB``); a bare number is MB, as in fMRIPrep.

    Returns
    -------
    float
        The amount in GB (1 GB = 1000 MB).

    Raises
    ------
    InputError
        When it is not such a text, or not above zero.
    """
    match = re.fullmatch(r'\s*(\d+(?:\.\d*)?|\.\d+)\s*([kmgt]?)(?:i?b)?\s*', str(text).lower())
    if match is None or float(match[1]) <= 0:
        raise InputError(f'Cannot read {text!r} as an amount of memory: write for example 16GB or 1500MB.')
    return float(match[1]) * _MEMORY_UNITS[match[2]]


def add_device_option(add: Add, purpose: str) -> None:
    """Add the option for the device.

    Parameters
    ----------
    add
        Adds an option to a group of a parser.
    purpose
        Says in the help what the device is for.
    """
    add('--device', metavar='{auto,cpu,cuda,cuda:N}', help=f'{purpose} (auto)')


def add_resource_options(add: Add) -> None:
    """Add the options for how much may be used at once, and by which plugin of Nipype."""
    add('--nprocs', '--nthreads', '--n-cpus', dest='nprocs', type=int, metavar='N', help='CPUs at once (all)')
    add('--omp-nthreads', type=int, metavar='N', help=f'CPUs of one step (nprocs, at most {MOST_THREADS})')
    add(
        '--mem',
        '--mem-mb',
        dest='mem_gb',
        type=parse_memory,
        metavar='AMOUNT',
        help=f'memory at once, for example 16GB; a number without a unit is MB ({100 * SHARE:.0f} %% of the machine)',
    )
    add(
        '--use-plugin',
        '--nipype-plugin-file',
        dest='use_plugin',
        type=as_path,
        metavar='FILE',
        help='YAML with a Nipype plugin and its plugin_args',
    )


def add_work_dir_option(add: Add) -> None:
    """Add the options for the folder of intermediate files."""
    add(
        '--shared-work-dir',
        action='store_true',
        help='take a work folder that others may write to: they can run code as you',
    )
    add('-w', '--work-dir', type=as_path, metavar='DIR', help='folder for intermediate files (./work)')


def add_verbosity_option(add: Add) -> None:
    """Add the option for how much is shown on the console."""
    add('-v', '--verbose', action='count', help='say more; twice: everything')
