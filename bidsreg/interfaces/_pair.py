"""bidsreg-pair as a node starts it (``python -m bidsreg.interfaces._pair``): it ends when the run ends."""

from __future__ import annotations

import sys


def main() -> int:
    """Tie this process to the run, then be ``bidsreg-pair``."""
    from bidsreg.execution import lifeline

    lifeline.follow()
    from bidsreg.pair import main as pair

    return pair()


if __name__ == '__main__':
    sys.exit(main())
