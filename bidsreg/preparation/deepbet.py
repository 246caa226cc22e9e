"""Brain extraction with deepbet as a process of its own: ``python -m bidsreg.preparation.deepbet IN OUT``.

deepbet's own command skips files below 100 kB and has no option for threads; this one calls its Python function.
"""

from __future__ import annotations

import argparse
import sys

from bidsreg.environment import wait_passively

#: Exit code when nothing in the image looks like a brain.
NO_BRAIN = 3


def main(argv: list[str] | None = None) -> int:
    """Write the brain mask (uint8, on the grid of the image) of one T1w image.

    Returns
    -------
    int
        0 when it is written, :data:`NO_BRAIN` when there is none.
    """
    parser = argparse.ArgumentParser(description='Write the brain mask of one T1w image.')
    parser.add_argument('in_file', help='T1w image')
    parser.add_argument('out_file', help='mask to write')
    parser.add_argument('--threads', type=int, default=1)
    args = parser.parse_args(argv)

    from bidsreg.execution import lifeline
    from bidsreg.execution.machine import allowed_threads

    lifeline.follow()
    wait_passively()
    import torch

    torch.set_num_threads(allowed_threads(args.threads))
    from deepbet import BrainExtraction

    network = BrainExtraction(no_gpu=True)
    try:
        network.run(args.in_file, mask_path=args.out_file)
    except (AssertionError, ValueError) as error:  # what deepbet raises over an empty box, or no region at all
        print(error, file=sys.stderr)
        return NO_BRAIN
    return 0


if __name__ == '__main__':
    sys.exit(main())
