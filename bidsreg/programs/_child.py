"""The Python process in which the library of a program works: ``python -m bidsreg.programs._child NAME WORD ...``."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(argv: Sequence[str]) -> int:
    """Hand the words after the name to the `child` of that program, and return its exit code."""
    from bidsreg.programs import PROGRAMS

    name, *words = argv
    return PROGRAMS[name].child(words)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
