"""Signals that ask a run to end become an exception, so that everything it holds is let go."""

from __future__ import annotations

import contextlib
import signal
import typing
from collections.abc import Iterator
from typing import Any


class Interrupted(KeyboardInterrupt):
    """The run was asked to end by a signal, whose number is kept."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextlib.contextmanager
def signals_raise() -> Iterator[None]:
    """Turn SIGTERM and SIGINT into :class:`Interrupted` while the context lasts."""

    def handle(number: int, _: object) -> typing.NoReturn:
        raise Interrupted(number)

    numbers = (signal.SIGTERM, signal.SIGINT)
    before: dict[int, Any] = {}
    with contextlib.suppress(ValueError):  # not in the main thread: signals are somebody else's business
        before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
