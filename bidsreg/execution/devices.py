"""Which GPUs there are, found without torch in this process."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

#: Signs of a GPU that torch may use: NVIDIA's, AMD's, and those of a guest of Windows.
SIGNS = ('/dev/nvidia0', '/dev/nvidiactl', '/dev/kfd', '/dev/dxg')


@functools.cache
def count_gpus() -> int:
    """Count the GPUs that PyTorch sees, in a process of its own; without any sign of one torch is not asked."""
    if not any(Path(sign).exists() for sign in SIGNS) and shutil.which('nvidia-smi') is None:
        return 0
    code = 'import torch; print(torch.cuda.device_count() if torch.cuda.is_available() else 0)'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False)
    text = done.stdout.strip()
    return int(text) if done.returncode == 0 and text.isdigit() else 0


def visible_gpus() -> list[str]:
    """Name the GPUs as ``CUDA_VISIBLE_DEVICES`` does, one each."""
    names = [name.strip() for name in os.environ.get('CUDA_VISIBLE_DEVICES', '').split(',') if name.strip()]
    count = count_gpus()
    return names[:count] if names else [str(number) for number in range(count)]


def resolve(device: str) -> str:
    """Return the device that is meant: for ``auto`` that is ``cuda`` where there is a GPU, else ``cpu``."""
    if device != 'auto':
        return device
    return 'cuda' if count_gpus() else 'cpu'
