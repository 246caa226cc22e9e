"""Work that is repeated on a GPU, recorded once as a CUDA graph: no launch of a kernel waits for Python any more."""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

Work = Callable[[], None]


def recorded(work: Work, rehearsed: bool = False) -> Work:
    """Return a function that repeats the same kernels on the same memory as `work` does.

    Parameters
    ----------
    work : callable
        On the current CUDA device. It must not read numbers back from the GPU, and must write its results into tensors
        that are there already.
    rehearsed : bool
        It was done before. Otherwise it is done once here: libraries set themselves up, and constants are made, the
        first time, which cannot be recorded. Recording itself executes nothing.

    Raises
    ------
    RuntimeError
        If it cannot be recorded.
    """
    if not rehearsed:
        stream = _side_stream(torch.cuda.current_device())
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            work()
        torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.stream(_side_stream(torch.cuda.current_device())), _uncollected():
        # torch.cuda.graph does the same, but collects garbage and gives memory back first, which takes longer than this
        graph.capture_begin()
        try:
            work()
        finally:
            graph.capture_end()
    return graph.replay


@functools.cache
def _side_stream(device: int) -> torch.cuda.Stream:
    """Return the stream of a GPU to record on, always the same: libraries keep memory for each that they have met."""
    return torch.cuda.Stream(device)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Leave garbage where it is: what it frees on a GPU would break a recording."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
