"""Work shared out to threads so that the answer does not depend on how many there are."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from bidsreg.registration.numerics.pool import shared_out

# torch is imported where it is asked: fields are brought along by kernels that do without, in a third of the time

Item = TypeVar('Item')
Answer = TypeVar('Answer')


M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -2, -3, -8
"""Parameters of glibc's ``mallopt``, as <malloc.h> numbers them."""


def keep_freed_memory() -> bool:
    """Let this process keep memory that it frees, to use it again; says whether its C library can.

    glibc gives large blocks back at once and gets them again page by page: a third of the time of the solver, whose
    temporaries are of a few MB. It changes the whole process, so programs do this for themselves, not `register`.
    """
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt is None:
        return False
    wanted = {M_MMAP_THRESHOLD: 1 << 30, M_TRIM_THRESHOLD: 1 << 30, M_TOP_PAD: 1 << 26, M_ARENA_MAX: 1}
    return all(mallopt(parameter, value) for parameter, value in wanted.items())


LARGE = 500_000
"""Values from which on splitting an operation of torch gains more than waking another thread costs."""
EACH = 50_000
"""Values that a thread gets at least when a kernel's work is shared out: to wake one takes some hundredths of a ms."""

_GIVEN_UP: ContextVar[int] = ContextVar('threads that torch gave up', default=1)
# the threads of a pool begin with the default


@contextmanager
def one_thread_an_operation() -> Iterator[int]:
    """Let torch use one thread for each operation meanwhile; yields how many it used before.

    torch splits neither 3-D sampling of one image nor small operations well, and sums in an order that depends on its
    threads. Whole boxes in threads of their own (`in_threads`) are faster, and bit-identical for any number of them.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    mark = _GIVEN_UP.set(before)
    try:
        yield before
    finally:
        _GIVEN_UP.reset(mark)
        torch.set_num_threads(before)


def spare_threads(size: int) -> int:
    """Return how many threads may share out `size` values here: as many as torch gave up, or as have `EACH` to do."""
    return max(1, min(_GIVEN_UP.get(), size // EACH))


@contextmanager
def threads_given_back(size: int) -> Iterator[None]:
    """Let torch split operations on `size` values after all, if they are many, inside of `one_thread_an_operation`.

    For operations whose every value is computed by one thread in one order: arithmetic by elements, gathering, batched
    products of matrices; not for plain products, convolutions and sums over everything. In the threads of `in_threads`
    nothing is given back.
    """
    threads = _GIVEN_UP.get()
    if threads == 1 or size < LARGE:
        yield
        return
    import torch

    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(1)


def in_threads(work: Callable[[Item], Answer], items: Sequence[Item], threads: int) -> list[Answer]:
    """Do `work` on every item, `threads` at a time; the answers in the order of the items."""
    if threads < 2 or len(items) < 2:
        return [work(item) for item in items]
    # this thread works, too
    mark = _GIVEN_UP.set(1)
    try:
        return shared_out(work, items, threads)
    finally:
        _GIVEN_UP.reset(mark)
