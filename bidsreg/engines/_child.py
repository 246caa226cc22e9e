"""A Python process for an engine's library: ``python -m bidsreg.engines._child NAME WORD ...``."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(argv: Sequence[str]) -> int:
    """Hand the words to the engine's `child`; its exit code."""
    from bidsreg.engines import ENGINES

    name, *words = argv
    return ENGINES[name].child(words)  # type: ignore[attr-defined]


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
