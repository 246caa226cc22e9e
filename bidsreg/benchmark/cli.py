"""The command line of the benchmark."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from bidsreg import SEED, __version__
from bidsreg.benchmark.folds import FOLDS
from bidsreg.benchmark.methods import known_methods, known_translations
from bidsreg.benchmark.settings import CHOICES, INTER_PAIRS, BenchmarkSettings
from bidsreg.execution.command import exit_code
from bidsreg.execution.options import (
    add_device_option,
    add_resource_options,
    add_verbosity_option,
    add_work_dir_option,
)
from bidsreg.programs import PROGRAMS
from bidsreg.validation import as_path

#: Programs that the app does not offer.
PEERS = tuple(name for name, program in PROGRAMS.items() if program.peer)

DESCRIPTION = """\
Compare methods of registration on your own pairs of a T1w and a T2w (or other scans): the paper's table.

INPUT is a BIDS dataset with label images (*_dseg.nii.gz) in its derivatives, or a table (.tsv) with the columns fixed
and moving, and any of fixed_labels, moving_labels, fixed_mask, moving_mask and points, with paths relative to it.
Every method gets the same corrected images, masks and prealignment, and is judged by its own field. Run the same
command again to continue, to repeat what failed, or to add methods: what is done is not done again."""

EPILOG = """\
Exit codes: 0 every method is done on every pair; 1 at least one failed (the table says which, and why); 2 the command
or its input cannot be used, said before any work; 130 and 143 when interrupted."""


def build_parser() -> argparse.ArgumentParser:
    """Build the parser; its names are those of :class:`~bidsreg.benchmark.settings.BenchmarkSettings`."""
    parser = argparse.ArgumentParser(
        'bidsreg-benchmark',
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    parser.add_argument('input', metavar='INPUT', type=as_path, help='BIDS dataset, or table of pairs (.tsv)')
    parser.add_argument('output_dir', metavar='OUT', type=as_path, help='folder for the results')
    parser.add_argument('--version', action='version', version=f'bidsreg-benchmark {__version__}')
    _add_comparison(parser.add_argument_group('what to compare'))
    _add_preparation(parser.add_argument_group('how to prepare and run'))
    _add_resources(parser.add_argument_group('with how much'))
    return parser


def _add_comparison(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        '--methods',
        nargs='+',
        required=True,
        metavar='NAME',
        help=f'any of {", ".join([*known_methods(), *known_translations()])}',
    )
    group.add_argument(
        '--skip-missing',
        action='store_true',
        help='leave any method out whose program is not there, and say so, as is always done with translations and '
        f'with those that the app does not offer ({", ".join(PEERS)}); otherwise it is an error before any work',
    )
    group.add_argument('--reference', metavar='NAME', help='method that the others are tested against (node-mind)')
    group.add_argument(
        '--contrasts',
        nargs=2,
        choices=CHOICES['contrasts'],
        metavar=('FIXED', 'MOVING'),
        help=f'suffixes of the fixed and the moving scan, any of {", ".join(CHOICES["contrasts"])}; in a BIDS dataset '
        'the first is T1w or T2w (T1w T2w)',
    )
    group.add_argument(
        '--task',
        choices=CHOICES['task'],
        help='inter: the T1w of one subject and the T2w of another (or what --contrasts says); intra: both of one '
        'head; rescan: T1w and T2w of the first two sessions of a person, between which all maps should agree: no '
        'labels are needed. Between people, presets take their form that ends in -inter (inter)',
    )
    group.add_argument(
        '--pairs',
        type=int,
        metavar='N',
        help=f'how many pairs to draw (all; of a BIDS dataset with the task inter {INTER_PAIRS})',
    )
    group.add_argument('--seed', type=int, metavar='N', help=f'seed of the draw ({SEED})')
    group.add_argument(
        '--labels',
        type=as_path,
        metavar='FILE',
        help='TSV with index and name of the labels (the 32 of SynthSeg)',
    )
    group.add_argument(
        '--label-with',
        choices=CHOICES['label_with'],
        help='label scans that have no labels: atropos, three tissue classes of the T1w, carried to the other scan; '
        'samseg, the structures of each scan (pip install samseg, in its own environment: see docs/benchmark.md). What '
        'a program says is no truth (none)',
    )
    group.add_argument('--label-desc', metavar='DESC', help='which label images, where a scan has several desc-*')
    group.add_argument(
        '-d',
        '--derivatives',
        nargs='+',
        type=as_path,
        metavar='DIR',
        help='where labels, masks and points are looked for (INPUT/derivatives/*)',
    )


def _add_preparation(group: argparse._ArgumentGroup) -> None:
    group.add_argument('--bias-correction', choices=CHOICES['bias_correction'], help='for all methods alike (n4)')
    group.add_argument('--prealign', choices=CHOICES['prealign'], help='none: the images are aligned already (affine)')
    add_device_option(group.add_argument, 'for methods that can use a GPU')
    group.add_argument(
        '--folds',
        type=int,
        metavar='N',
        help='groups of heads; a translation is trained without the groups of the pairs that it is judged on '
        f'({FOLDS})',
    )
    group.add_argument(
        '--translation-steps', type=int, metavar='N', help='steps of the training of a translation (that of the method)'
    )
    group.add_argument('--random-seed', type=int, metavar='N', help=f'seed of everything random but the draw ({SEED})')
    group.add_argument('--sloppy', action='store_true', help='fast and bad, for tests only')


def _add_resources(group: argparse._ArgumentGroup) -> None:
    add_resource_options(group.add_argument)
    add_work_dir_option(group.add_argument)
    add_verbosity_option(group.add_argument)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a benchmark.

    Parameters
    ----------
    argv
        Arguments, without the name of the program; by default those of this process.

    Returns
    -------
    int
        Exit code: 0 all done, 1 something failed, 2 the input cannot be used, 128 + signal when interrupted.
    """

    def work() -> int:
        given = vars(build_parser().parse_args(argv))
        from bidsreg.benchmark.run import run

        return run(BenchmarkSettings(**given))

    return exit_code('bidsreg-benchmark', work)


if __name__ == '__main__':
    sys.exit(main())
