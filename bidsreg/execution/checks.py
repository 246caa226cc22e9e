"""What the execution of a graph needs, checked before any work: a device, folders, a package."""

from __future__ import annotations

import errno
import importlib.util
import logging
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from bidsreg.errors import InputError
from bidsreg.execution import devices
from bidsreg.execution.plugins import DEFAULT, read_plugin
from bidsreg.execution.settings import ExecutionSettings

LOGGER = logging.getLogger('bidsreg')

#: Of less than this no step's files are: a disk that does not take it is full.
PROBE_BYTES = 2**16


def check_device(settings: ExecutionSettings) -> None:
    """Raise :class:`InputError` when a GPU is asked for and there is none; nothing else is ever taken instead."""
    if not settings.device.startswith('cuda'):
        return
    plugin, _ = read_plugin(settings.use_plugin)
    if plugin == DEFAULT:
        devices.require(settings.device, devices.count_gpus)
        return
    if ':' in settings.device and plugin != 'Linear':
        raise InputError(f'--device {settings.device}: with {plugin} use --device cuda; it says which GPU a job gets.')
    LOGGER.info('--device %s is not checked here: the plugin may run the work on another machine.', settings.device)


def check_writable(folders: Mapping[str, Path | None]) -> None:
    """Make folders and write a file into each.

    Parameters
    ----------
    folders
        Folders by what they are called in a message; None is passed over.

    Raises
    ------
    InputError
        At the first that cannot be written.
    """
    for name, folder in folders.items():
        if folder is None:
            continue
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _write_probe(folder)
        except OSError as error:
            raise InputError(f'The {name} folder {folder} cannot be written: {error.strerror}.') from error


def _write_probe(folder: Path, size: int = 4096) -> None:
    with tempfile.TemporaryFile(dir=folder) as probe:
        probe.write(b'0' * size)


def is_full(folder: Path) -> bool:
    """Tell whether a folder takes no more data, for the disk or the user's share of it is full."""
    try:
        _write_probe(folder, PROBE_BYTES)
    except OSError as error:
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return False


def check_temporary() -> None:
    """Find the folder for temporary files, and warn where it is not the one that TMPDIR names.

    Raises
    ------
    InputError
        When none can be written.
    """
    wanted = os.environ.get('TMPDIR')
    try:
        taken = tempfile.gettempdir()
    except OSError as error:
        raise InputError(
            f'No folder for temporary files can be written: name one in TMPDIR. {error.strerror}'
        ) from error
    if wanted and Path(taken).resolve() != Path(wanted).resolve():
        try:
            _write_probe(Path(wanted))
            why = 'it could not be written a moment ago'
        except OSError as error:
            why = str(error.strerror)
        LOGGER.warning('TMPDIR=%s cannot be used (%s): temporary files go to %s', wanted, why, taken)


def check_monitor(settings: ExecutionSettings) -> None:
    """Raise :class:`InputError` when the resource monitor is asked for and what it needs is missing."""
    if settings.resource_monitor and importlib.util.find_spec('psutil') is None:
        raise InputError('--resource-monitor needs the package psutil (pip install psutil).')
