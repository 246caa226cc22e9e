"""Brain extraction with deepbet as a process of its own: ``python -m bidsreg.preparation.deepbet IN OUT``.

deepbet's own command skips files below 100 kB and has no option for threads; this one calls its Python function.
"""

from __future__ import annotations

import argparse


def main(argv: list[str] | None = None) -> None:
    """Write the brain mask (uint8, on the grid of the image) of one T1w image."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument('in_file', help='T1w image')
    parser.add_argument('out_file', help='mask to write')
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--gpu', action='store_true', help='use the first GPU rather than the CPU')
    args = parser.parse_args(argv)

    from bidsreg.execution import lifeline

    lifeline.follow()
    import torch

    torch.set_num_threads(args.threads)
    from deepbet import BrainExtraction

    BrainExtraction(no_gpu=not args.gpu).run(args.in_file, mask_path=args.out_file)


if __name__ == '__main__':
    main()
