"""The command, also as ``python -m bidsreg.pair``; started by a node it ends when the run ends."""

from __future__ import annotations

import sys

from bidsreg.environment import ensure_utf8, one_thread_each, put_off_collecting, wait_passively
from bidsreg.execution import lifeline
from bidsreg.streams import outlive_readers


def main() -> int:
    """Run the command with this process's arguments; :func:`bidsreg.pair.cli.main` has the exit codes."""
    ensure_utf8()
    outlive_readers()
    lifeline.follow()
    # before libraries of numbers are loaded, with the command line
    put_off_collecting()
    wait_passively()
    # numpy's products are small, and their last bits depend on the threads; torch's threads are those of --threads
    one_thread_each(['OPENBLAS_NUM_THREADS'])
    from bidsreg.pair import cli

    return cli.main()


if __name__ == '__main__':
    sys.exit(main())
