"""bidsreg-translate: learn to turn one contrast into another from unpaired scans, and rewrite scans so."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import sys
from collections.abc import Sequence
from typing import Any

from bidsreg import SEED, __version__
from bidsreg.errors import InputError
from bidsreg.execution import devices
from bidsreg.execution.checks import is_full
from bidsreg.execution.command import exit_code
from bidsreg.execution.logs import to_console
from bidsreg.execution.machine import allowed_threads
from bidsreg.execution.options import add_device_option, add_verbosity_option
from bidsreg.execution.signals import signals_raise
from bidsreg.translation.recipes import COST_NAMES, RECIPES, missing
from bidsreg.translation.settings import CHOICES, SPACING, FitSettings
from bidsreg.validation import as_path, suggestion

LOGGER = logging.getLogger('bidsreg')

DESCRIPTION = """\
Translate scans between contrasts, by networks that learn it from your own scans, unpaired.

fit trains one: INPUT is a BIDS dataset, raw or bidsreg's derivatives, or a table (.tsv) with the columns subject,
contrast, image and, where there are any, mask. The same command again goes on after an interruption. apply rewrites a
scan in the other contrast, on its own grid. A translation is an invention that looks plausible, no measurement."""

EPILOG = """\
Exit codes: 0 done; 1 the training failed; 2 the command or its input cannot be used, said before any work; 130 and 143
when interrupted."""
#: Fields of a recipe that options of their own change.
RECIPE_OPTIONS = ('steps', 'batch_size', 'width', 'learning_rate', 'cost')


def build_parser() -> argparse.ArgumentParser:
    """Build the parser, with a command each for training and for rewriting."""
    kind: dict[str, Any] = {'formatter_class': argparse.RawDescriptionHelpFormatter, 'allow_abbrev': False}
    parser = argparse.ArgumentParser('bidsreg-translate', description=DESCRIPTION, epilog=EPILOG, **kind)
    parser.add_argument('--version', action='version', version=f'bidsreg-translate {__version__}')
    commands = parser.add_subparsers(dest='command', required=True, metavar='fit|apply')
    suppressed = {**kind, 'argument_default': argparse.SUPPRESS}
    _add_fit(commands.add_parser('fit', help='train a translation', description=DESCRIPTION, **suppressed))
    _add_apply(commands.add_parser('apply', help='rewrite a scan', description=DESCRIPTION, **kind))
    return parser


def _add_fit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('input', metavar='INPUT', type=as_path, help='BIDS dataset, or table of scans (.tsv)')
    parser.add_argument('output_dir', metavar='OUT', type=as_path, help='folder for the model')
    parser.add_argument('--method', required=True, metavar='NAME', help=f'one of {", ".join(RECIPES)}')
    parser.add_argument('--source', required=True, metavar='CONTRAST', help='what is translated, such as T2w')
    parser.add_argument('--target', required=True, metavar='CONTRAST', help='into what, such as T1w')
    recipe = parser.add_argument_group('how to train')
    recipe.add_argument('--steps', type=int, metavar='N', help='steps of the training (4000)')
    recipe.add_argument('--batch-size', type=int, metavar='N', help='slices of each contrast in a step (1; not: 4)')
    recipe.add_argument('--width', type=int, metavar='N', help='channels on the first level of the networks (16)')
    recipe.add_argument('--learning-rate', type=float, metavar='X', help='of Adam (that of the method)')
    recipe.add_argument(
        '--cost',
        choices=COST_NAMES,
        help='of neural optimal transport: squared distance of the intensities, of them after a decreasing match of '
        'the histograms, or of MIND (inverted)',
    )
    recipe.add_argument(
        '--spacing', type=float, metavar='MM', help=f'voxels of the grids on which is trained ({SPACING:g})'
    )
    recipe.add_argument('--seed', type=int, metavar='N', help=f'of the networks and of every draw ({SEED})')
    recipe.add_argument('--every', type=int, metavar='N', help='steps between two checkpoints with pictures (500)')
    scans = parser.add_argument_group('the scans')
    scans.add_argument('--bias-correction', choices=CHOICES['bias_correction'], help='inside the brain (n4)')
    scans.add_argument(
        '-d',
        '--derivatives',
        nargs='+',
        type=as_path,
        metavar='DIR',
        help='where brain masks are looked for (INPUT/derivatives/*)',
    )
    _add_machine(parser.add_argument_group('with how much').add_argument)


def _add_apply(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('model', metavar='MODEL', type=as_path, help='model.safetensors, or the folder it is in')
    parser.add_argument('scan', metavar='SCAN', type=as_path, help='image to rewrite (NIfTI)')
    parser.add_argument('-o', '--out', required=True, type=as_path, metavar='FILE', help='image to write (NIfTI)')
    parser.add_argument('--mask', type=as_path, metavar='FILE', help='brain mask of the scan [what is not zero]')
    parser.add_argument(
        '--bias-correction', choices=CHOICES['bias_correction'], help='inside the brain [as the model was trained]'
    )
    _add_machine(parser.add_argument)


def _add_machine(add: Any) -> None:
    add_device_option(add, 'where the networks work')
    add('--threads', type=int, metavar='N', help='CPU threads (all)')
    add_verbosity_option(add)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    argv
        Arguments, without the name of the program; by default those of this process.

    Returns
    -------
    int
        Exit code: 0 done, 1 the training failed, 2 the input cannot be used, 128 + signal when interrupted.
    """

    def work() -> int:
        given = vars(build_parser().parse_args(argv))
        command = given.pop('command')
        with to_console(given.get('verbose') or 0), signals_raise():
            return _COMMANDS[command](given)

    return exit_code('bidsreg-translate', work)


def _fit(given: dict[str, Any]) -> int:
    settings = settings_from(given)
    _require_packages()
    device = _device(settings.device)
    from bidsreg.translation.fit import fit
    from bidsreg.translation.training import DivergedError

    try:
        model = fit(settings, device)
    except DivergedError as error:
        print(f'bidsreg-translate: failed: {error}', file=sys.stderr)
        return 1
    except OSError as error:
        why = f'{settings.output_dir} is full' if is_full(settings.output_dir) else str(error)
        print(
            f'bidsreg-translate: failed: {why}. When it is mended the same command goes on after the last checkpoint.',
            file=sys.stderr,
        )
        return 1
    print(model)
    return 0


def settings_from(given: dict[str, Any]) -> FitSettings:
    """Return the settings that options ask for.

    Raises
    ------
    InputError
        If a value cannot be used, or the method has no use for it.
    """
    left = dict(given)
    name = left.pop('method')
    if name not in RECIPES:
        raise InputError(f'--method {name}: there is no such method.{suggestion(name, RECIPES)}')
    changes = {key: left.pop(key) for key in RECIPE_OPTIONS if key in left}
    recipe = RECIPES[name]
    for key in changes:
        if not hasattr(recipe, key):
            raise InputError(f'--{key.replace("_", "-")} is not for {name}.')
    return FitSettings(recipe=dataclasses.replace(recipe, **changes), **left)


def _apply(given: dict[str, Any]) -> int:
    _require_packages()
    threads = given['threads'] or 0
    if threads < 0:
        raise InputError(f'--threads must not be negative: {threads}.')
    import torch

    from bidsreg.translation.model import MODEL, TranslationModel
    from bidsreg.translation.rewrite import check_names, rewrite_scan

    check_names(given['scan'], given['out'], given['mask'])
    device = _device(given['device'] or 'auto')
    torch.set_num_threads(allowed_threads(threads))
    path = given['model'] / MODEL if given['model'].is_dir() else given['model']
    model = TranslationModel.load(path, device)
    facts = rewrite_scan(
        model,
        given['scan'],
        given['out'],
        given['mask'],
        bias_correction=given['bias_correction'],
        device=device,
        threads=allowed_threads(threads),
    )
    LOGGER.info('MIND distance from the scan: %.4f (0: the same structure, 1: another)', facts['MindDistance'])
    print(given['out'])
    return 0


_COMMANDS = {'fit': _fit, 'apply': _apply}


def _require_packages() -> None:
    if why := missing():
        raise InputError(why[0].upper() + why[1:] + '.')


def _device(wanted: str) -> str:
    devices.require(wanted)
    return devices.resolve(wanted)


if __name__ == '__main__':
    sys.exit(main())
