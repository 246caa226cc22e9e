"""Work that is repeated on a GPU, recorded once as a CUDA graph: no launch of a kernel waits for Python any more."""

from __future__ import annotations

from collections.abc import Callable

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
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            work()
        torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay
