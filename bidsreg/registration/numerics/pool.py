"""Work handed out to threads, where nothing needs torch."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar('Item')
Answer = TypeVar('Answer')


def in_order(work: Callable[[Item], Answer], items: Iterable[Item], threads: int) -> Iterator[Answer]:
    """Yield `work` of every item, which `threads` are at, in the order of the items, each as soon as it is there."""
    if threads < 2:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(work, items)


def shared_out(work: Callable[[Item], Answer], items: Sequence[Item], threads: int) -> list[Answer]:
    """Return `work` of every item in their order; this thread works, and up to `threads` - 1 that wait for such work.

    A tenth of what `in_order` costs, which counts where it is done thousands of times. The first error ends it.
    """
    if threads < 2 or len(items) < 2:
        return [work(item) for item in items]
    answers: dict[int, Answer] = {}
    todo = deque(range(len(items)))

    def drain() -> None:
        try:
            while todo:
                # another thread may have been faster
                try:
                    i = todo.popleft()
                except IndexError:
                    return
                answers[i] = work(items[i])
        except BaseException:
            todo.clear()
            raise

    helpers = [_waiting(threads - 1).submit(drain) for _ in range(min(threads, len(items)) - 1)]
    try:
        drain()
    finally:
        # helpers that are busy elsewhere are not waited for
        _finished([helper for helper in helpers if not helper.cancel()])
    return [answers[i] for i in range(len(items))]


def _finished(helpers: Sequence[Future[None]]) -> None:
    """Wait for all; raise the error of the first that has one."""
    for error in [helper.exception() for helper in helpers]:
        if error is not None:
            raise error


@functools.cache
def _waiting(number: int) -> ThreadPoolExecutor:
    """Return so many threads that wait for work until the program ends."""
    return ThreadPoolExecutor(number, thread_name_prefix='bidsreg')
