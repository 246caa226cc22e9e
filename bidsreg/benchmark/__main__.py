"""``python -m bidsreg.benchmark``."""

import sys

from bidsreg.benchmark.cli import main

if __name__ == '__main__':
    sys.exit(main())
