"""bidsreg-pair with every method: the presets of `bidsreg.registration` and the programs of `bidsreg.programs`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from bidsreg.programs import PROGRAMS
from bidsreg.registration import cli


def main(argv: Sequence[str] | None = None) -> int:
    """Register two files; the exit code of :func:`bidsreg.registration.cli.main`."""
    return cli.main(argv, PROGRAMS)


if __name__ == '__main__':
    sys.exit(main())
