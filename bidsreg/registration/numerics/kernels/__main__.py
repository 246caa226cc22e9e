"""Compile every kernel and keep the code: ``python -m bidsreg.registration.numerics.kernels``, as images do."""

from __future__ import annotations

import importlib
import logging
import pkgutil
from collections.abc import Iterator

from bidsreg.registration.numerics import kernels
from bidsreg.registration.numerics.kernels.compiling import Kernel


def every_kernel() -> Iterator[Kernel]:
    """Yield the kernels of this package."""
    for module in pkgutil.iter_modules(kernels.__path__):
        if module.name != '__main__':
            found = vars(importlib.import_module(f'{kernels.__name__}.{module.name}'))
            yield from (value for value in found.values() if isinstance(value, Kernel))


def main() -> None:
    """Compile what is not compiled yet, and say so."""
    logging.basicConfig(level=logging.INFO, format='%(message)s')
    for kernel in every_kernel():
        kernel.compile()


if __name__ == '__main__':
    main()
