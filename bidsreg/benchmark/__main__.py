"""Run the benchmark, also as ``python -m bidsreg.benchmark``."""

from __future__ import annotations

import sys

from bidsreg.environment import ensure_utf8, one_thread_each, wait_passively
from bidsreg.streams import outlive_readers


def main() -> int:
    """Run the command with this process's arguments; :func:`bidsreg.benchmark.cli.main` has the exit codes."""
    ensure_utf8()
    outlive_readers()
    # before libraries of numbers are loaded, with the command line
    wait_passively()
    # steps with threads are processes of their own, which are told how many
    one_thread_each()
    from bidsreg.benchmark import cli

    return cli.main()


if __name__ == '__main__':
    sys.exit(main())
