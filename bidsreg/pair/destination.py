"""The folder that bidsreg-pair is to leave its results in: whether it may be made or replaced, before any work."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from pathlib import Path

from bidsreg.pair.request import PairRequest
from bidsreg.registration.atomic import sweep

RESULT_FILES = ('warped.nii.gz', 'forward.h5', 'inverse.h5', 'jacobian.nii.gz', 'result.json')
"""All that is in a folder of results."""

OWN_KEYS = frozenset({'method', 'settings', 'versions', 'decision', 'jacobian'})
"""Some of what every result.json says; files of other programs may have that name, too."""


def check_destination(request: PairRequest) -> None:
    """Refuse a folder that cannot be made, or that must not be replaced; what killed runs left beside it is removed.

    Raises
    ------
    ValueError
        If it exists without ``--overwrite``, is no folder of results, or holds an input.
    OSError
        If it cannot be written.
    """
    out = request.out.resolve()
    sweep(out.parent)
    if out.exists():
        check_replaceable(out, request.overwrite)
    for path in _inputs(request):
        if path.resolve().is_relative_to(out):
            raise ValueError(f'{path} lies in {request.out}, which would be replaced; name another folder with --out')
    _check_writable(out)


def check_replaceable(out: Path, overwrite: bool) -> None:
    """Refuse to replace a folder that is not empty and has anything but results of bidsreg-pair in it.

    Raises
    ------
    ValueError
        If it is not to be replaced, if there is anything else in it, or if its result.json is not from here.
    """
    if not out.is_dir():
        raise ValueError(f'{out} exists and is no folder; name another one')
    if not overwrite:
        raise ValueError(f'{out} exists already; name another folder or give --overwrite')
    names = {path.name for path in out.iterdir()}
    if not names:
        return
    strange = sorted(names - set(RESULT_FILES)) or sorted(
        name for name in names if not (out / name).is_file() or (out / name).is_symlink()
    )
    if not strange and not _is_own(out / 'result.json'):
        strange = sorted(names)
    if strange:
        raise ValueError(
            f'{out} is not replaced: it holds more than a result of bidsreg-pair ({", ".join(strange[:3])}); remove it '
            'yourself or name another folder with --out'
        )


def _is_own(path: Path) -> bool:
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and content.keys() >= OWN_KEYS


def _inputs(request: PairRequest) -> list[Path]:
    """Return all files that are read, those of settings, too."""
    named = request.input_names().values()
    paths = [Path(part) for value in named for part in (value if isinstance(value, list) else [value])]
    return [*paths, *([request.preset_file] if request.preset_file else [])]


def _check_writable(out: Path) -> None:
    """Write a file where the folder is to be made; folders that are not there yet are not made for that.

    Raises
    ------
    OSError
        If that fails, as for a full disk, or if `out` cannot be renamed.
    """
    if os.path.ismount(out):
        raise OSError(errno.EBUSY, 'a file system is mounted there, which cannot be replaced; name a folder in it', out)
    if out.exists() and not os.access(out, os.W_OK | os.X_OK):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(out))
    there = next(folder for folder in out.parents if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=there) as probe:
            probe.write(b'0' * 4096)
    except OSError as error:
        raise OSError(error.errno, f'--out cannot be written: {error.strerror}', str(there)) from error
