"""Files of tensors with a JSON header: safetensors, which hold numbers and names, and nothing that is run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from bidsreg.errors import InputError
from bidsreg.registration.atomic import write_atomic

Tensor = torch.Tensor

#: Key of the header among the metadata, which hold texts only.
KEY = 'bidsreg'


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors and a JSON-ready header, atomically and durably; the same ones give the same bytes.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    kept = {name: tensors[name].detach().cpu().contiguous().clone() for name in sorted(tensors)}
    metadata = {KEY: json.dumps(header, sort_keys=True)}
    try:
        write_atomic(path, lambda hidden: save_file(kept, hidden, metadata), durable=True)
    except SafetensorError as error:  # what it makes of every error of the system
        raise OSError(f'{path} cannot be written: {error}') from error


def read_tensors(path: Path, what: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read a header and its tensors.

    Parameters
    ----------
    path
        The file.
    what
        What it is to be, for the message.

    Raises
    ------
    InputError
        If it is missing, truncated or no such file, or holds numbers that are not finite.
    """
    header = read_header(path, what)
    try:
        with safe_open(path, framework='pt', device='cpu') as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no dictionary
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise InputError(f'{path} cannot be read as {what}: {error}') from error
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise InputError(f'{path} cannot be used as {what}: {name} holds numbers that are not finite.')
    return header, tensors


def read_header(path: Path, what: str) -> dict[str, Any]:
    """Read the header alone.

    Raises
    ------
    InputError
        If the file is missing or no such file.
    """
    if not path.is_file():
        raise InputError(f'{path} is not there; {what} is needed.')
    try:
        with safe_open(path, framework='pt', device='cpu') as file:
            header = json.loads((file.metadata() or {})[KEY])
    except KeyError as error:
        raise InputError(
            f'{path} is no {what.removeprefix("a ")} of bidsreg: its header says nothing of it.'
        ) from error
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise InputError(f'{path} cannot be read as {what}: {error}') from error
    if not isinstance(header, dict):
        raise InputError(f'{path} cannot be read as {what}: its header is no JSON object.')
    return header


def require_like(path: Path, tensors: Mapping[str, Tensor], like: Mapping[str, Tensor], what: str) -> None:
    """Raise unless tensors have the names, shapes and types of others.

    Raises
    ------
    InputError
        It names the file and the first tensor that differs.
    """
    for name in [*like, *tensors]:
        if name not in tensors or name not in like:
            raise InputError(f'{path} cannot be used as {what}: {name} is {"missing" if name in like else "unknown"}.')
        one, other = tensors[name], like[name]
        if one.shape != other.shape or one.dtype != other.dtype:
            raise InputError(
                f'{path} cannot be used as {what}: {name} is {one.dtype} of shape {tuple(one.shape)}, not '
                f'{other.dtype} of shape {tuple(other.shape)}.'
            )


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with path.open('rb') as stream:
        return hashlib.file_digest(stream, 'sha256').hexdigest()
