"""Run the command, also as ``python -m bidsreg.apply``."""

from __future__ import annotations

import sys

from bidsreg.environment import ensure_utf8, one_thread_each, wait_passively
from bidsreg.streams import outlive_readers


def main() -> int:
    """Run the command with this process's arguments; :func:`bidsreg.apply.cli.main` has the exit codes."""
    ensure_utf8()
    outlive_readers()
    # before libraries of numbers are loaded, with the command line
    wait_passively()
    one_thread_each(['OPENBLAS_NUM_THREADS'])
    from bidsreg.apply import cli

    return cli.main()


if __name__ == '__main__':
    sys.exit(main())
