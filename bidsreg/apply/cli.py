"""bidsreg-apply: bring images, labels, points and surfaces to another space, through transforms that are there."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bidsreg import __version__
from bidsreg.errors import InputError
from bidsreg.execution.command import exit_code
from bidsreg.execution.logs import to_console
from bidsreg.execution.machine import allowed_threads
from bidsreg.execution.options import add_verbosity_option
from bidsreg.execution.signals import signals_raise
from bidsreg.validation import as_path

USAGE = """\
bidsreg-apply DERIVATIVES --participant-label 01 --to T1w FILE [FILE ...] [options]
       bidsreg-apply --transform A.h5 [B.h5 ...] [--inverse] [--reference R.nii.gz] FILE -o OUT [options]"""

DESCRIPTION = """\
Bring files to another space: images (NIfTI, .mgz), label images, points (.tsv, .csv, .mrk.json), surfaces (.surf.gii).

First form: DERIVATIVES is what bidsreg wrote. The transform is found by the entities of the names, one after another
if need be (T2w -> T1w -> template), and results get BIDS names and sidecars.
Second form: any transforms that ITK or ANTs can read. The LAST one named is the first that the file goes through, as
with antsApplyTransforms -t; the first one leads to the reference.

--to means the same for every kind of file: bring it there. Images are interpolated once, however many transforms.
Labels keep their numbers."""

EPILOG = """\
examples:
  bidsreg-apply out --participant-label 01 --to T1w sub-01_space-T2w_desc-lesion_mask.nii.gz
  bidsreg-apply out --participant-label 01 --from T2w --to T1w landmarks.mrk.json
  bidsreg-apply --transform sub-01_from-T2w_to-T1w_mode-image_xfm.h5 --reference T1w.nii.gz T2w.nii.gz -o moved.nii.gz

Exit codes: 0 done; 2 the command or a file cannot be used (what could be carried is); 130 and 143 when interrupted."""
#: Options of the first form alone, by the second's reasons.
_OF_DATASETS = ('participant_label', 'session_label', 'origin', 'target', 'derivatives', 'output_dir')


class _Parser(argparse.ArgumentParser):
    """A parser that takes options between files."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse arguments; see :meth:`argparse.ArgumentParser.parse_intermixed_args`."""
        return self.parse_intermixed_args(args, namespace)


def build_parser() -> argparse.ArgumentParser:
    """Build the command line."""
    from bidsreg.apply.interpolation import INTERPOLATIONS
    from bidsreg.apply.kinds import KINDS
    from bidsreg.apply.surfaces import SURFACE_SPACES

    parser = _Parser(
        'bidsreg-apply',
        usage=USAGE,
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument('--version', action='version', version=f'bidsreg-apply {__version__}')
    parser.add_argument('paths', nargs='*', type=as_path, metavar='DERIVATIVES and FILE', help=argparse.SUPPRESS)
    dataset = parser.add_argument_group('by the entities of names')
    dataset.add_argument('--participant-label', metavar='LABEL', help='whose transforms, such as 01 or sub-01')
    dataset.add_argument('--to', dest='target', metavar='SPACE', help='where to, such as T1w or MNI152NLin2009cAsym')
    dataset.add_argument(
        '--from',
        dest='origin',
        metavar='SPACE',
        help='where the files are [their names say it, or whose grid they have]',
    )
    dataset.add_argument('--session-label', metavar='LABEL', help='which session, where several have transforms')
    dataset.add_argument(
        '-d', '--derivatives', type=as_path, action='append', default=[], metavar='DIR',
        help="more transforms, such as those to a template in fMRIPrep's output; may be repeated",
    )  # fmt: skip
    dataset.add_argument('--output-dir', type=as_path, metavar='DIR', help='dataset for the results [DERIVATIVES]')
    named = parser.add_argument_group('by the names of transforms')
    named.add_argument(
        '-t', '--transform', type=as_path, nargs='+', metavar='XFM',
        help='.h5, .tfm, .txt, .mat or a field in .nii.gz; the last one is the first that the file goes through',
    )  # fmt: skip
    named.add_argument('--inverse', action='store_true', help='the way back, from the reference of all of them')
    either = parser.add_argument_group('both')
    either.add_argument(
        '-r', '--reference', type=as_path, metavar='IMAGE',
        help="image on whose grid images are wanted [the space's desc-preproc scan]; points and surfaces need none",
    )  # fmt: skip
    either.add_argument('-o', '--out', type=as_path, metavar='OUT', help='name of the result of one file')
    either.add_argument(
        '-n', '--interpolation', choices=INTERPOLATIONS,
        help='; '.join(f'{one.name}: {one.description}' for one in INTERPOLATIONS.values())
        + ' [labels for labels, linear for other images]',
    )  # fmt: skip
    either.add_argument('--kind', choices=KINDS, help='what the files are [by their names, headers, voxels]')
    either.add_argument(
        '--surface-space', choices=SURFACE_SPACES, default='auto',
        help="whether vertices are in the scanner's coordinates or in FreeSurfer's own (tkr) [the file says it]",
    )  # fmt: skip
    either.add_argument(
        '--outside', type=float, default=0.0, metavar='VALUE', help='of voxels of which nothing is known [0]'
    )
    either.add_argument('--threads', type=int, metavar='N', help='CPU threads; results do not depend on it [all]')
    either.add_argument('--overwrite', action='store_true', help='replace results that are there')
    add_verbosity_option(either.add_argument)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    argv
        Arguments, without the name of the program; by default those of this process.

    Returns
    -------
    int
        Exit code: 0 done, 2 a file cannot be used, 128 + signal when interrupted.
    """

    def work() -> int:
        given = build_parser().parse_args(argv)
        with to_console(given.verbose or 0), signals_raise():
            return _work(given)

    return exit_code('bidsreg-apply', work)


def _work(given: argparse.Namespace) -> int:
    from bidsreg.apply.base import Options
    from bidsreg.apply.run import carry_all, describe_dataset

    if (given.threads or 0) < 0:
        raise InputError(f'--threads must not be negative: {given.threads}.')
    options = Options(
        interpolation=given.interpolation,
        kind=given.kind,
        surface_space=given.surface_space,
        outside=given.outside,
        threads=allowed_threads(given.threads),
        overwrite=given.overwrite,
    )
    errands = _through_files(given) if given.transform else _by_entities(given, options.kind)
    failed = carry_all(errands, options)
    for folder in {errand.dataset for errand in errands} - {None}:
        describe_dataset(folder)
    for error in failed:
        print(f'bidsreg-apply: error: {error}', file=sys.stderr)
    return 2 if failed else 0


def _through_files(given: argparse.Namespace) -> list[Any]:
    """Return the errand of the second form."""
    from bidsreg.apply.base import Errand
    from bidsreg.apply.files import route_through

    for name in _OF_DATASETS:
        if getattr(given, name):
            raise InputError(
                f'--{_SPELLED.get(name, name.replace("_", "-"))} finds transforms, --transform names them.'
            )
    transforms, paths = given.transform, given.paths
    if not paths:  # --transform takes all words up to the next option: the last one is the file
        *transforms, last = transforms
        paths = [last]
    if given.out is None or len(paths) != 1 or not transforms:
        raise InputError('With --transform give one FILE, and its result with -o.')
    (source,) = paths
    _check_there([*transforms, source])
    route = route_through(transforms, source, inverse=given.inverse)
    return [Errand(source, given.out, route, given.reference)]


_SPELLED = {'origin': 'from', 'target': 'to'}


def _by_entities(given: argparse.Namespace, kind: str | None) -> list[Any]:
    """Return the errands of the first form."""
    from bidsreg.apply.find import Derivatives

    if not given.paths:
        raise InputError('Name DERIVATIVES and the files to carry, or --transform; --help says more.')
    folder, *sources = given.paths
    for name in ('participant_label', 'target'):
        if not getattr(given, name):
            raise InputError(f'--{_SPELLED.get(name, name.replace("_", "-"))} is missing, or --transform.')
    if given.inverse:
        raise InputError('--inverse is for --transform; with --from and --to say where from and where to.')
    if not sources:
        raise InputError('Name the files to carry behind DERIVATIVES.')
    if given.out is not None and len(sources) != 1:
        raise InputError(f'-o names one result, and there are {len(sources)} files.')
    _check_there(sources)
    labels = given.participant_label.removeprefix('sub-'), (given.session_label or '').removeprefix('ses-')
    for label in labels:
        if not re.fullmatch('[0-9a-zA-Z+]*', label):
            raise InputError(f'{label!r} is no label of a person or a session: letters and digits are.')
    there = Derivatives((folder, *given.derivatives), *labels)
    return [_found(given, there, source, kind) for source in sources]


def _found(given: argparse.Namespace, there: Any, source: Path, kind: str | None) -> Any:
    """Return the errand of one file of the first form."""
    from bidsreg.apply.base import Errand
    from bidsreg.apply.kinds import kind_of
    from bidsreg.apply.naming import result_folder, result_name
    from bidsreg.bids.names import sidecar

    session = there.session_of(source)
    found, _ = kind_of(source, kind)
    origin = there.origin_of(source, given.target, given.origin)
    route = there.route(source, origin, given.target)
    reference = given.reference
    if found.on_grid and reference is None:
        reference = there.reference(route)
    if given.out is not None:
        return Errand(source, given.out, route, reference)
    dataset = given.output_dir or given.paths[0]
    session = session or there.session_in(route)
    folder = result_folder(source, dataset, there.subject, session)
    out = folder / result_name(source, found, there.subject, session, given.target)
    return Errand(source, out, route, reference, sidecar(out), dataset)


def _check_there(paths: Sequence[Path]) -> None:
    for path in paths:
        if not path.is_file():
            raise InputError(f'{path}: there is no such file.')


if __name__ == '__main__':
    sys.exit(main())
