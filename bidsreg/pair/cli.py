"""bidsreg-pair: two NIfTI files in, a deformation on disk out."""

from __future__ import annotations

import argparse
import dataclasses
import errno
import logging
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from bidsreg.environment import wait_passively
from bidsreg.errors import InputError
from bidsreg.execution.machine import allowed_threads
from bidsreg.pair.destination import check_destination
from bidsreg.pair.masks import with_brains
from bidsreg.pair.methods import method_for, teller
from bidsreg.pair.reading import read_image
from bidsreg.pair.request import KEEP, PairRequest
from bidsreg.pair.results import write_results
from bidsreg.programs import PROGRAMS, Program
from bidsreg.registration.errors import RegistrationError
from bidsreg.registration.presets import PRESETS
from bidsreg.validation import as_path

if TYPE_CHECKING:
    from bidsreg.registration import Image

EPILOG = """\
OUT/ holds, once all is done: warped.nii.gz (moving on the fixed grid), forward.h5 (brings moving data onto the fixed
grid, for antsApplyTransforms -t), inverse.h5 (the other way), jacobian.nii.gz (of the deformation without the affine,
on the fixed grid) and result.json (settings, losses, seconds, memory, folds, evidence, versions)."""


def build_parser(programs: Collection[str] = tuple(PROGRAMS)) -> argparse.ArgumentParser:
    """Build the command line, with the names of programs that may be asked for beside the presets."""
    parser = argparse.ArgumentParser(prog='bidsreg-pair', description=__doc__, epilog=EPILOG)
    parser.add_argument('fixed', type=as_path, help='image whose grid and anatomy stay (NIfTI)')
    parser.add_argument('moving', type=as_path, help='image that is brought onto it (NIfTI)')
    parser.add_argument('--out', type=as_path, required=True, help='folder to make for the results; must not exist')
    parser.add_argument(
        '--fixed-mask',
        type=as_path,
        help='brain mask on the fixed grid [what is not zero in a skull-stripped image, else the field of view]',
    )
    parser.add_argument('--moving-mask', type=as_path, help='the same on the moving grid [the same]')
    parser.add_argument('--fixed-lesion', type=as_path, help='mask on the fixed grid of what must not count [nothing]')
    parser.add_argument(
        '--moving-lesion', type=as_path, help='mask on the moving grid of what must not count [nothing]'
    )
    begin = parser.add_mutually_exclusive_group()
    begin.add_argument(
        '--affine', type=as_path, help='fixed world to moving world: ITK .txt/.mat or 4x4 text [identity]'
    )
    begin.add_argument(
        '--start',
        type=as_path,
        nargs=2,
        metavar=('FORWARD.h5', 'INVERSE.h5'),
        help='go on from what an earlier run found, affine and deformation',
    )
    parser.add_argument('--method', default=PairRequest.method, choices=[*PRESETS, *programs], help='[%(default)s]')
    parser.add_argument('--preset-file', type=as_path, metavar='FILE.toml', help='settings that differ from the method')
    parser.add_argument(
        '--set',
        type=assignment,
        action='append',
        default=[],
        dest='assignments',
        metavar='FIELD=VALUE',
        help='one setting, such as levels=4:40,2:30 or regularity=h1:0.5; may be repeated, and wins over the file',
    )
    parser.add_argument(
        '--device',
        default=PairRequest.device,
        help='auto, cpu, cuda or cuda:N; auto takes a GPU if there is one [%(default)s]',
    )
    parser.add_argument('--threads', type=int, help='CPU threads [all]')
    parser.add_argument('--seed', type=int, default=PairRequest.seed, help='of the initial network [%(default)s]')
    parser.add_argument('--working-resolution', type=float, metavar='MM', help='finest grid worked on, mm [1.0]')
    parser.add_argument('--sloppy', action='store_true', help='few iterations at 2 mm or coarser, for testing only')
    parser.add_argument(
        '--keep',
        choices=KEEP,
        default=PairRequest.keep,
        help='better: the affine where the deformation looks worse by evidence that was not optimised; diffeo: the '
        'deformation in any case, to compare methods by their own answers [%(default)s]',
    )
    parser.add_argument('--overwrite', action='store_true', help='replace OUT if it is a result of bidsreg-pair')
    parser.add_argument('-q', '--quiet', action='store_true', help='no progress lines')
    parser.add_argument('--version', action='version', version=f'%(prog)s {version("bidsreg")}')
    return parser


def assignment(text: str) -> tuple[str, str]:
    """Split ``FIELD=VALUE`` in two.

    Raises
    ------
    argparse.ArgumentTypeError
        If there is no equals sign.
    """
    field, sign, value = text.partition('=')
    if not sign:
        raise argparse.ArgumentTypeError(f"FIELD=VALUE is needed, not '{text}'")
    return field.strip(), value


def run(request: PairRequest, programs: Mapping[str, Program] = PROGRAMS) -> dict[str, Any]:
    """Register a pair as it was asked for, leave the results in ``request.out``, and return what result.json says.

    Raises
    ------
    InputError, ValueError, OSError
        If the request or its input cannot be used.
    RegistrationError
        If the method fails.
    """
    began = time.perf_counter()
    method = method_for(request, programs)
    check_destination(request)

    fixed, moving, given = read(request)
    inputs, taken = with_brains(fixed, moving, given)
    for event in taken:
        teller(sys.stderr, request.quiet)(event)
    loaded = time.perf_counter()
    result = method.register(fixed, moving, inputs)
    result = dataclasses.replace(result, events=(*taken, *result.events))
    facts = method.facts(result) | {
        'inputs': request.input_names(),
        'device': method.device,
        'seed': request.seed,
    }
    return write_results(request, fixed, moving, result, facts, began, loaded)


def read(request: PairRequest) -> tuple[Image, Image, dict[str, Any]]:
    """Read the two images and the other inputs at the same time: to unpack them takes tenths of a second.

    Raises
    ------
    InputError, ValueError, OSError
        If a file cannot be read or is not what was asked for; of several the first in this order.
    """
    from bidsreg.registration.numerics.pool import in_order

    readers: tuple[Callable[[], Any], ...] = (
        lambda: read_image(request.fixed),
        lambda: read_image(request.moving),
        request.read_inputs,
    )
    fixed, moving, inputs = in_order(lambda reader: reader(), readers, allowed_threads(request.threads))
    return fixed, moving, inputs


def main(argv: Sequence[str] | None = None, programs: Mapping[str, Program] = PROGRAMS) -> int:
    """Run the command.

    Parameters
    ----------
    argv : sequence of str, optional
        The words after the program's name. Default: those of this process.
    programs : mapping of str to Program
        Other programs that ``--method`` may name.

    Returns
    -------
    int
        0 when done, 1 when the registration failed, 2 for input that cannot be registered, 3 when the memory of the GPU
        does not suffice.
    """
    wait_passively()
    request = PairRequest.from_arguments(build_parser(programs).parse_args(argv))
    logging.basicConfig(level=logging.WARNING if request.quiet else logging.INFO, format='%(message)s')
    from bidsreg.registration.numerics.threads import keep_freed_memory

    keep_freed_memory()
    try:
        answer = run(request, programs)
    except (InputError, ValueError, OSError) as error:
        print(f'bidsreg-pair: error: {error}', file=sys.stderr)
        return 1 if isinstance(error, OSError) and error.errno == errno.ENOSPC else 2  # a full disk is no bad input
    except RegistrationError as error:
        print(f'bidsreg-pair: failed: {error}', file=sys.stderr)
        return 3 if _is_full_gpu(error.__cause__) else 1
    print(
        f'{request.out}: {answer["decision"]["kept"]} kept, {answer["jacobian"]["folds"]} folds, '
        f'{answer["seconds"]["total"]:.0f} s, {answer["peak_memory_mb"]:.0f} MB',
        file=sys.stderr,
    )
    return 0


def _is_full_gpu(error: BaseException | None) -> bool:
    """Tell whether an error says that the memory of a GPU does not suffice."""
    import torch

    return isinstance(error, torch.cuda.OutOfMemoryError)
