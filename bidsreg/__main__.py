"""Run the BIDS App as ``python -m bidsreg``."""

import sys

from bidsreg.cli import main

if __name__ == '__main__':
    sys.exit(main())
