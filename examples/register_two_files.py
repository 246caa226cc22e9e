#!/usr/bin/env python3
"""Register two images in Python, and bring the moving one onto the grid of the fixed one.

    python examples/register_two_files.py T1w.nii.gz T2w.nii.gz OUT --fixed-mask brain.nii.gz

writes ``warped.nii.gz``, ``forward.h5`` and ``inverse.h5`` into OUT. The command ``bidsreg-pair`` does that and more.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bidsreg.registration import PRESETS, Image, preset, register
from bidsreg.registration.itk import read_affine


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('fixed', type=Path)
    parser.add_argument('moving', type=Path)
    parser.add_argument('out', type=Path)
    parser.add_argument('--fixed-mask', type=Path, help='brain mask on the grid of the fixed image')
    parser.add_argument('--affine', type=Path, help='ITK .txt or .mat, fixed world to moving world')
    parser.add_argument('--method', choices=list(PRESETS), default='node-mind')
    parser.add_argument('--sloppy', action='store_true', help='few iterations, for trying things out')
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Register the images that the command line names."""
    given = build_parser().parse_args(argv)
    fixed, moving = Image.load(given.fixed), Image.load(given.moving)
    method = preset(given.method)
    result = register(
        fixed,
        moving,
        method.sloppy() if given.sloppy else method,
        fixed_mask=Image.load(given.fixed_mask) if given.fixed_mask else None,
        affine=read_affine(given.affine) if given.affine else None,
    )
    given.out.mkdir(parents=True, exist_ok=True)
    result.deformation.apply(moving, fixed.grid).save(given.out / 'warped.nii.gz')
    result.deformation.save(given.out / 'forward.h5')
    result.deformation.inverted().save(given.out / 'inverse.h5')
    for stage, evidence in result.evidence.items():
        if evidence is not None:  # nothing is known of scans that their headers place apart
            print(f'{stage}: mutual information {evidence.mi:.3f}')
    print(f'{result.folds} folds')
    return 0


if __name__ == '__main__':
    sys.exit(main())
