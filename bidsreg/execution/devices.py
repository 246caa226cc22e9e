"""Devices: how they are called, which is meant, and which GPUs there are, found without torch in this process."""

from __future__ import annotations

import functools
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from bidsreg.errors import InputError

LOGGER = logging.getLogger('bidsreg')

#: Signs of a GPU that torch may use: NVIDIA's, AMD's, and those of a guest of Windows.
SIGNS = ('/dev/nvidia0', '/dev/nvidiactl', '/dev/kfd', '/dev/dxg')

_COUNT = 'import torch; print(torch.cuda.device_count() if torch.cuda.is_available() else 0)'


def check_name(device: str) -> None:
    """Raise :class:`InputError` unless a device is called ``auto``, ``cpu``, ``cuda`` or ``cuda:N``."""
    if not re.fullmatch(r'auto|cpu|cuda(:\d+)?', device):
        raise InputError(f'--device {device!r}: choose from auto, cpu, cuda, cuda:N.')


def resolve(device: str, count: Callable[[], int] | None = None) -> str:
    """Return the device that is meant.

    Parameters
    ----------
    device
        ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    count
        Counts the GPUs; by default :func:`count_gpus`.

    Returns
    -------
    str
        For ``auto`` that is ``cuda`` where there is a GPU, else ``cpu``; any other stays what it is.

    Raises
    ------
    InputError
        If no device is called so.
    """
    check_name(device)
    if device != 'auto':
        return device
    return 'cuda' if (count or count_gpus)() else 'cpu'


def require(device: str, count: Callable[[], int] | None = None) -> None:
    """Raise :class:`InputError` when a GPU is asked for that is not here: nothing else ever takes its place.

    Parameters
    ----------
    device, count
        As for :func:`resolve`.
    """
    check_name(device)
    if not device.startswith('cuda'):
        return
    there = (count or count_gpus)()
    if int(device.partition(':')[2] or 0) >= there:
        raise InputError(
            f'--device {device}: PyTorch sees {there or "no"} CUDA device(s) here. In a container pass the '
            'GPU on (docker run --gpus all, apptainer --nv), or use --device cpu.'
        )


@functools.cache
def count_gpus() -> int:
    """Count the GPUs that PyTorch sees, in a process of its own; without any sign of one torch is not asked.

    Where PyTorch does not work, none can be used; a warning then says why.
    """
    if not any(Path(sign).exists() for sign in SIGNS) and shutil.which('nvidia-smi') is None:
        return 0
    done = subprocess.run([sys.executable, '-c', _COUNT], capture_output=True, text=True, check=False, errors='replace')
    answer = done.stdout.strip().rpartition('\n')[2]
    if done.returncode == 0 and answer.isdigit():
        return int(answer)
    said = (done.stderr.strip() or done.stdout.strip() or f'it ended with {done.returncode}').splitlines()[-1]
    LOGGER.warning('There are signs of a GPU, but PyTorch does not work here, so none is used: %s', said)
    return 0


def visible_gpus() -> list[str]:
    """Name the GPUs as ``CUDA_VISIBLE_DEVICES`` does, one each."""
    names = [name.strip() for name in os.environ.get('CUDA_VISIBLE_DEVICES', '').split(',') if name.strip()]
    count = count_gpus()
    return names[:count] if names else [str(number) for number in range(count)]
