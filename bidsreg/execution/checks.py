"""What the execution of a graph needs, checked before any work: a device, folders, a package."""

from __future__ import annotations

import importlib.util
import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path

from bidsreg.errors import InputError
from bidsreg.execution import devices
from bidsreg.execution.plugins import DEFAULT, read_plugin
from bidsreg.execution.settings import ExecutionSettings

LOGGER = logging.getLogger('bidsreg')


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
        if folder is not None:
            _write_probe(name, folder)


def _write_probe(name: str, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b'0' * 4096)
    except OSError as error:
        raise InputError(f'The {name} folder {folder} cannot be written: {error.strerror}.') from error


def check_monitor(settings: ExecutionSettings) -> None:
    """Raise :class:`InputError` when the resource monitor is asked for and what it needs is missing."""
    if settings.resource_monitor and importlib.util.find_spec('psutil') is None:
        raise InputError('--resource-monitor needs the package psutil (pip install psutil).')
