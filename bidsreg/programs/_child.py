"""A Python process for a program's library: ``python -m bidsreg.programs._child NAME WORD ...``."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(argv: Sequence[str]) -> int:
    """Hand the words to the program's `child`; its exit code."""
    from bidsreg.programs import PROGRAMS

    name, *words = argv
    return PROGRAMS[name].child(words)  # type: ignore[attr-defined]


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
