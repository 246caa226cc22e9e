"""Where work is done, and in which portions."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Compute:
    """Where to work.

    Attributes
    ----------
    device : torch.device
        The CPU, or a GPU.
    threads : int
        CPU threads.
    boxed : bool
        Work box by box on a GPU, too: less memory, more time.
    """

    device: torch.device
    threads: int = 1
    boxed: bool = False

    @property
    def at_a_time(self) -> int:
        """How many boxes or slabs are worked at a time: a GPU takes one after another."""
        return self.threads if self.device.type == 'cpu' else 1

    @property
    def small_boxes(self) -> bool:
        """Whether volumes are cut into boxes that fit a processor's cache."""
        return self.boxed or self.device.type == 'cpu'


ON_CPU = Compute(torch.device('cpu'))
"""One thread of the CPU."""
