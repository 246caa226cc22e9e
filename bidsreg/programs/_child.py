"""The Python process in which the library of a program works.

``python -m bidsreg.programs._child MODULE NAME WORD ...``
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module


def main(argv: Sequence[str]) -> int:
    """Import the module that registers a program, hand the words after its name to its `child`, return its exit code.

    Raises
    ------
    ProgramError
        If the module registers no program of that name, or the program works without such a process.
    """
    from bidsreg.programs import PROGRAMS, ProgramError

    module, name, *words = argv
    import_module(module)
    if name not in PROGRAMS:
        raise ProgramError(f'{module} puts no program called {name} into bidsreg.programs.PROGRAMS')
    return PROGRAMS[name].child(words)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
