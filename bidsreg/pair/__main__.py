"""Run the command as ``python -m bidsreg.pair``; started by a node it ends when the run ends."""

import sys

from bidsreg.execution import lifeline

if __name__ == '__main__':
    lifeline.follow()
    from bidsreg.pair.cli import main

    sys.exit(main())
