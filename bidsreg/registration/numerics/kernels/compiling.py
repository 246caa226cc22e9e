"""How kernels are compiled, and where their machine code is kept from one process to the next.

The code of a kernel is a file in a folder, under a name that says what made it: the sources of all kernels, the
versions of Python and numba, and the processor. Where it is missing the kernel is compiled, which takes seconds; that
is said once in the log. Folders, in this order:

1. the one that the environment names by `FOLDER_VARIABLE`, if any: that of a container image, filled when it was built;
2. the user's cache folder, ``bidsreg/kernels`` in ``$XDG_CACHE_HOME`` or ``~/.cache``;
3. one of the user's among the temporary files, with a warning.

Folders that cannot be written are read all the same. Code that is found in a later folder is copied to the first. Where
none can be written, kernels are compiled in every process, and a warning says so. numba's own settings stay as they
are: ``NUMBA_CACHE_DIR`` is of no account here, while ``NUMBA_CPU_NAME`` and ``NUMBA_CPU_FEATURES`` decide, as always,
for which processor is compiled.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import pickle
import platform
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numba
from numba.core import config
from numba.core.caching import NullCache
from numba.core.codegen import get_host_cpu_features
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

from bidsreg.registration.atomic import write_atomic
from bidsreg.registration.errors import RegistrationError

LOGGER = logging.getLogger(__name__)
FOLDER_VARIABLE = 'BIDSREG_KERNELS'
"""Names a folder of compiled kernels, such as a container image has."""

OPTIONS: dict[str, Any] = {
    # other threads of Python go on meanwhile
    'nogil': True,
    '_nrt': False,
    # division by zero gives inf, as in torch, without a branch that would stop vectorisation
    'error_model': 'numpy',
    # sums in vector lanes and fused multiply-adds: rounded otherwise than in torch, but always alike, since what a
    # kernel is given does not depend on the number of threads; NaN and inf keep their meaning
    'fastmath': {'reassoc', 'contract', 'nsz', 'arcp'},
}
"""Of every kernel."""

Function = Callable[..., Any]
LOCK = threading.RLock()


class Kernel:
    """A compiled function; it is compiled, or its code is read, when it is first called.

    Parameters
    ----------
    function : callable
        What to compile.
    signatures : sequence of str
        For which types of arguments, as numba writes them. Others are an error: nothing is compiled unasked.
    allocates : bool
        Whether it makes arrays of its own, for which references have to be counted.
    """

    def __init__(self, function: Function, signatures: Sequence[str], allocates: bool = False) -> None:
        functools.update_wrapper(self, function)
        self.function, self.signatures, self.allocates = function, signatures, allocates

    def __call__(self, *arguments: Any) -> Any:
        """Run the compiled function; arguments by position."""
        return self.compiled(*arguments)

    def compile(self) -> None:
        """Compile it now, or read its code."""
        self.compiled  # noqa: B018, made once

    @functools.cached_property
    def compiled(self) -> Callable[..., Any]:
        """Return numba's dispatcher."""
        if missing := missing_features():
            raise RegistrationError(
                f'NUMBA_CPU_FEATURES asks for a processor with {", ".join(missing)}, which this one has not; '
                'with NUMBA_CPU_NAME=generic and an empty NUMBA_CPU_FEATURES kernels are compiled for any'
            )
        dispatcher = numba.njit(**(OPTIONS | {'_nrt': self.allocates}))(self.function)
        dispatcher._cache = _KernelCache(self.function)
        # else every thread of the first call would compile
        with LOCK:
            for signature in self.signatures:
                dispatcher.compile(signature)
        dispatcher.disable_compile()
        return dispatcher


def missing_features() -> list[str]:
    """Return what compiled code may use, as the environment says, and this processor has not.

    Code for one processor is used on others where the environment names it (that of a container image does): what they
    do not know would end the process.
    """
    wanted = (config.CPU_FEATURES or '').split(',')  # type: ignore[attr-defined, unused-ignore]
    there = get_host_cpu_features().split(',')
    return [feature[1:] for feature in wanted if feature.startswith('+') and feature not in there]


def kernel(*signatures: str, allocates: bool = False) -> Callable[[Function], Kernel]:
    """Make a function a `Kernel` for arguments of given types, such as ``'void(f4[::1], i8)'``."""
    return lambda function: Kernel(function, signatures, allocates)


def part(function: Function) -> Function:
    """Make a function that kernels call; it is compiled as a part of each of them, for the types that it is given."""
    return numba.njit(forceinline=True, **OPTIONS)(function)


def routine(function: Function) -> Function:
    """Make a `part` that is not copied to wherever it is called: many copies of long loops take long to compile."""
    return numba.njit(**OPTIONS)(function)


class _KernelCache(NullCache):  # type: ignore[misc, unused-ignore]
    """What numba asks for the compiled code of one kernel."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.name = f'{function.__module__.rpartition(".")[2]}.{function.__name__}'

    def _file_name(self, signature: object, codegen: Any) -> str:
        made_by = (sources_stamp(), platform.python_version(), numba.__version__, codegen.magic_tuple(), signature)
        return f'{self.name}-{hashlib.sha256(repr(made_by).encode()).hexdigest()[:32]}.code'

    def load_overload(self, signature: object, target_context: Any) -> CompileResult | None:
        """Return the compiled kernel, or None where it has to be compiled."""
        target_context.refresh()
        name = self._file_name(signature, target_context.codegen())
        for number, folder in enumerate(trusted_folders()):
            code = _read(folder / name)
            if code is not None:
                if number:
                    # so a folder that is named later is filled, too
                    _keep(next(trusted_folders()) / name, code)
                return CompileResult._rebuild(target_context, *pickle.loads(code))
        _say_compiling()
        return None

    def save_overload(self, signature: object, result: Any) -> None:
        """Keep a kernel that was just compiled, in the first folder that can be written."""
        code_library = result._asdict()['library']
        assert not code_library.has_dynamic_globals, f'{self.name} refers to memory that only its maker has'
        name, code = self._file_name(signature, result.codegen), dumps(result._reduce())
        for folder in trusted_folders():
            if not _keep(folder / name, code):
                continue
            if folder == temporary_folder():
                _warn_of_place(f'in {folder}, since there is no cache folder to write to')
            return
        _warn_of_place('nowhere: every process compiles them anew')


def _digest(code: bytes) -> bytes:
    return hashlib.sha256(code).digest()


def _keep(file: Path, code: bytes) -> bool:
    try:
        write_atomic(file, lambda hidden: hidden.write_bytes(_digest(code) + code))
    except OSError:
        return False
    return True


def _read(file: Path) -> bytes | None:
    """Return the code in a file; None where there is none, or not all of it."""
    try:
        content = file.read_bytes()
    except OSError:
        return None
    digest, code = content[:32], content[32:]
    return code if digest == _digest(code) else None


def temporary_folder() -> Path | None:
    """Return the folder of this user's compiled kernels among the temporary files; None if there can be none."""
    try:
        return Path(tempfile.gettempdir()) / f'bidsreg-kernels-{os.getuid()}'
    except FileNotFoundError:
        return None


def folders() -> Iterator[Path]:
    """Yield the folders of compiled kernels, whether they exist or not."""
    if named := os.environ.get(FOLDER_VARIABLE):
        yield Path(named)
    cache = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
    # a user without a home keeps the tilde
    if os.path.isabs(cache):
        yield Path(cache) / 'bidsreg' / 'kernels'
    if temporary := temporary_folder():
        yield temporary


def trusted_folders() -> Iterator[Path]:
    """Yield those `folders` that nobody but the user or root can have filled: code of others is not run."""
    for folder in folders():
        try:
            facts = folder.stat()
        except FileNotFoundError:
            yield folder
        except OSError:
            continue
        else:
            if facts.st_uid in (0, os.getuid()) and not facts.st_mode & stat.S_IWOTH:
                yield folder


@functools.cache
def sources_stamp() -> str:
    """Return a fingerprint of this package's sources: a kernel holds the code of the parts that it calls."""
    sources = sorted(Path(__file__).parent.glob('*.py'))
    return hashlib.sha256(b'\0'.join(source.read_bytes() for source in sources)).hexdigest()


@functools.cache
def _say_compiling() -> None:
    LOGGER.info('Compiling kernels for this processor: once, in about half a minute')


@functools.cache
def _warn_of_place(place: str) -> None:
    LOGGER.warning('Compiled kernels are kept %s', place)
