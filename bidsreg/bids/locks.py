"""Locks between runs that share an output or a work folder; the kernel frees them when their process ends."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import typing
from collections.abc import Iterator
from pathlib import Path

from bidsreg.bids.names import PRIVATE, Work
from bidsreg.bids.publish import clear_unfinished

if typing.TYPE_CHECKING:
    from bidsreg.settings import Settings

LOGGER = logging.getLogger('bidsreg')


@contextlib.contextmanager
def lock_dataset(output_dir: Path) -> Iterator[None]:
    """Wait until no other run is at the files that all share (description, table of pairs), and keep others off."""
    path = output_dir / PRIVATE / 'locks' / 'dataset.lock'
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('a') as stream:
        with contextlib.suppress(OSError):  # a file system without locks: lock_pair says so
            fcntl.lockf(stream, fcntl.LOCK_EX)
        yield


class PairLock:
    """A lock that keeps other runs off a pair for as long as this process lives or until :meth:`release`."""

    def __init__(self) -> None:
        self._streams: list[typing.IO] = []

    def take(self, path: Path) -> bool:
        """Lock one file; return ``False`` when another process has it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._streams.append(path.open('a'))
        try:
            fcntl.lockf(self._streams[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return False
        except OSError as error:
            LOGGER.warning('No locks on this file system (%s): do not start two runs on %s.', error, path.parent)
        return True

    def release(self) -> None:
        """Let others have the pair."""
        for stream in self._streams:
            stream.close()

    def __enter__(self) -> PairLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def lock_pair(pair: Work, settings: Settings) -> PairLock | None:
    """Take a pair for this run, in the output and in the work folder, and clear what a killed run left of it.

    The lock is the kernel's and of this process alone (children of it do not hold it), so it is free as soon as
    this process ends, however it ends.

    Returns
    -------
    PairLock or None
        ``None`` when another live process has the pair.

    """
    lock = PairLock()
    for folder in (settings.output_dir, settings.work_dir):
        if not lock.take(folder / PRIVATE / 'locks' / f'{pair.name}.lock'):
            lock.release()
            return None
    clear_unfinished(settings.output_dir, pair.name)
    return lock
