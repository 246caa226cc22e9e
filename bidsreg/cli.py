"""The command line of the BIDS App."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bidsreg import SEED, __version__
from bidsreg.bids.spaces import EMBEDDED
from bidsreg.errors import InputError
from bidsreg.execution.command import exit_code
from bidsreg.execution.options import (
    add_device_option,
    add_resource_options,
    add_verbosity_option,
    add_work_dir_option,
)
from bidsreg.programs import APP_PROGRAMS
from bidsreg.registration.presets import PRESETS
from bidsreg.settings import CHOICES, NONE, Settings, read_toml
from bidsreg.validation import as_path

DESCRIPTION = """\
Align the T1w and T2w scans of every person in a BIDS dataset with a diffeomorphism.

Every T2w (with -m every FLAIR, PDw and so on) is registered to the T1w of its session. Transforms in both directions,
resampled images, masks, numbers and a report for each subject are written as BIDS derivatives. Run the same command
again to continue or to repeat what failed: what is done is not done again."""

EPILOG = """\
Exit codes: 0 every pair is done; 1 at least one pair failed (the others are complete); 2 the command or its input
cannot be used, said before any work; 130 and 143 when interrupted."""


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Show one spelling of an option, not all its aliases."""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings:
            return super()._format_action_invocation(action)
        short = [text for text in action.option_strings if not text.startswith('--')]
        names = ', '.join([*short, *[text for text in action.option_strings if text.startswith('--')][:1]])
        value = '' if action.nargs == 0 else ' ' + self._format_args(action, str(action.metavar or action.dest).upper())
        return names + value


class _Group:
    """Add options with their underscore spellings; what is not given leaves no trace in the result."""

    def __init__(self, group: Any) -> None:
        self._group = group

    def add(self, *names: str, **options: Any) -> None:
        under = [f'--{name[2:].replace("-", "_")}' for name in names if name.startswith('--')]
        every = list(dict.fromkeys([*names, *under]))
        if options.get('nargs') in ('+', '*'):
            options['action'] = 'extend'  # given twice it means both, and the first one is not lost
        self._group.add_argument(*every, default=argparse.SUPPRESS, **options)


def _derivative(text: str) -> Path:
    """Read PATH or, as fMRIPrep has it, PACKAGE=PATH."""
    name, _, path = text.partition('=')
    return as_path(path if path and '/' not in name else text)


def build_parser() -> argparse.ArgumentParser:
    """Build the parser; its names are those of :class:`bidsreg.settings.Settings`."""
    parser = argparse.ArgumentParser(
        'bidsreg', description=DESCRIPTION, epilog=EPILOG, formatter_class=_Formatter, allow_abbrev=False
    )
    parser.add_argument('bids_dir', type=as_path, help='the raw BIDS dataset')
    parser.add_argument('output_dir', type=as_path, help='where the derivatives go; may be BIDS_DIR/derivatives/NAME')
    parser.add_argument(
        'analysis_level',
        nargs='+',
        choices=CHOICES['analysis_level'],
        help='participant: register every pair and write a report for each subject; group: the table and the page of '
        'the whole study, from what OUTPUT_DIR holds (BIDS_DIR is not read); both: one after the other',
    )
    parser.add_argument('--version', action='version', version=f'bidsreg {__version__}')
    _add_data_options(_Group(parser.add_argument_group('which data')))
    _add_method_options(_Group(parser.add_argument_group('how to register')))
    add_resource_options(_Group(parser.add_argument_group('with how much')).add)
    _add_run_options(_Group(parser.add_argument_group('how to run')))
    return parser


def _add_data_options(group: _Group) -> None:
    group.add(
        '--participant-label',
        nargs='+',
        metavar='LABEL',
        help='subjects to work on, with or without sub- (all)',
    )
    group.add(
        '--session-label',
        '--session-id',
        nargs='+',
        dest='session_label',
        metavar='LABEL',
        help='sessions to work on, with or without ses- (all)',
    )
    group.add(
        '-m',
        '--modalities',
        nargs='+',
        choices=CHOICES['modalities'],
        metavar='SUFFIX',
        help=f'scans to register to the reference, by their suffixes: {", ".join(CHOICES["modalities"])} (T2w; with '
        '--reference T2w the T1w)',
    )
    group.add(
        '--reference',
        choices=CHOICES['reference'],
        help='what stays fixed and lends the others its space: the T1w, or the T2w, of infants for example (T1w)',
    )
    group.add(
        '--pairing',
        choices=CHOICES['pairing'],
        help='which T1w (or other reference) a scan may be registered to: one of its own session, or, when that has '
        'none, of the first session of the subject that has one (session)',
    )
    group.add(
        '--bids-filter-file',
        metavar='FILE',
        type=as_path,
        help='JSON: {"t1w": {ENTITY: VALUE, ...}, "t2w": {...}, "flair": {...}} with the entity names of pybids; null '
        'means without it, "*" with any',
    )
    group.add(
        '--bids-database-dir',
        metavar='DIR',
        type=as_path,
        help='keep the index of the dataset here; delete it when files come or go',
    )
    group.add(
        '-d',
        '--derivatives',
        nargs='+',
        metavar='[NAME=]DIR',
        type=_derivative,
        help='derivatives with brain masks of your own: of fMRIPrep, NiBabies, SynthStrip, FreeSurfer (sub-*/mri)',
    )
    group.add('--skip-bids-validation', action='store_true', help='do not run the BIDS validator')


def _add_method_options(group: _Group) -> None:
    group.add(
        '--method',
        metavar='NAME',
        help=f'one of {", ".join(PRESETS)}, or another program: {", ".join(APP_PROGRAMS)} (node-mind)',
    )
    add_device_option(group.add, 'where the deformation is solved')
    group.add(
        '--working-resolution',
        type=float,
        metavar='MM',
        help='voxel size of the finest level; coarser needs less memory and time (1)',
    )
    group.add('--sloppy', action='store_true', help='fast and bad, for tests only')
    group.add('--random-seed', type=int, metavar='N', help=f'seed of everything random ({SEED})')
    group.add(
        '--affine-formats',
        nargs='+',
        metavar='NAME',
        choices=CHOICES['affine_formats'],
        help='write the affine alone for other programs as well: fsl (.mat), lta (FreeSurfer)',
    )
    group.add(
        '--output-spaces',
        nargs='*',
        metavar='SPACE',
        help='normalise every person to these templates: NAME[:cohort-N][:res-N] of TemplateFlow, or NAME:IMAGE[:MASK] '
        f'of your own; MNI, and the option alone, mean {EMBEDDED}, which needs no download',
    )
    group.add(
        '--templateflow-home',
        type=as_path,
        metavar='DIR',
        help='the folder of TemplateFlow ($TEMPLATEFLOW_HOME); what is missing is fetched into it before any work',
    )
    group.add(
        '--skull-strip',
        '--skull-strip-t1w',
        dest='skull_strip',
        choices=CHOICES['skull_strip'],
        help='extract the brain unless the reference is stripped already, always, or never; a mask of your own is '
        'always preferred (auto)',
    )
    group.add('--bias-correction', choices=CHOICES['bias_correction'], help='correct the bias field or not (n4)')
    group.add(
        '--ratio',
        choices=CHOICES['ratio'],
        help='make the ratio T1w/T2w on the grid of the T1w, sensitive to myelin: in the units of the scanner '
        '(uncalibrated), or with both scans mapped to reference values, which compares between scanners (calibrated) '
        '(none)',
    )
    group.add(
        '--qc-thresholds',
        type=as_path,
        metavar='FILE',
        help='TOML with thresholds of PASS, CHECK and FAIL that differ from the usual ones; with --reports-only it '
        'judges again what is there',
    )


def _add_run_options(group: _Group) -> None:
    add_work_dir_option(group.add)
    group.add('--config-file', type=as_path, metavar='FILE', help='TOML with settings; the command line wins over it')
    group.add('--dry-run', action='store_true', help='show which files would be registered, and why, and stop')
    group.add('--reports-only', action='store_true', help='write the reports again from what is there')
    group.add(
        '--self-contained',
        action='store_true',
        help='put the pictures into the reports: one file for each subject, to be mailed',
    )
    group.add('--write-graph', action='store_true', help='draw the graph of the work into logs/')
    group.add(
        '--resource-monitor', action='store_true', help='record memory and CPU over time into logs/ (needs psutil)'
    )
    group.add('--stop-on-first-crash', action='store_true', help='stop everything when one step fails')
    group.add('--clean-workdir', action='store_true', help='forget the intermediate files of the pairs first')
    group.add('--notrack', action='store_true', help='accepted, does nothing: nothing is ever tracked')
    add_verbosity_option(group.add)


def parse_settings(argv: Sequence[str] | None = None) -> Settings:
    """Read the command line, and the files it names, into settings.

    Raises
    ------
    InputError
        When a file or a value cannot be used; argparse itself exits with code 2.

    """
    given = vars(build_parser().parse_args(argv))
    given.pop('notrack', None)
    config_file = given.pop('config_file', None)
    filter_file = given.pop('bids_filter_file', None)
    if given.get('output_spaces') == []:
        given['output_spaces'] = [EMBEDDED]
    values = read_toml(config_file) if config_file else {}
    for name in ('run_uuid', 'reports_only', 'dry_run'):  # of that one run, not of the next
        values.pop(name, None)
    if filter_file:
        values['bids_filters'] = read_filters(filter_file)
    return Settings(**{**values, **given})


def read_filters(path: Path) -> dict[str, dict[str, Any]]:
    """Read a filter file in fMRIPrep's syntax: JSON, ``{"t1w": {entity: value}}``, with null and ``"*"``.

    Raises
    ------
    InputError
        When it is missing, or not of this form.

    """
    try:
        content = json.loads(path.read_text(encoding='utf-8-sig'))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f'--bids-filter-file {path} cannot be read: {error}') from error
    if not isinstance(content, dict) or not all(isinstance(value, dict) for value in content.values()):
        raise InputError(f'--bids-filter-file {path}: write {{"t1w": {{"acquisition": "mprage"}}}} or the like.')
    return {key.lower(): {name: _query(value) for name, value in item.items()} for key, item in content.items()}


def _query(value: Any) -> Any:
    if isinstance(value, list):
        return [_query(item) for item in value]
    return NONE if value is None else value


def main(argv: Sequence[str] | None = None) -> int:
    """Run the BIDS App.

    Parameters
    ----------
    argv
        Arguments, without the name of the program; by default those of this process.

    Returns
    -------
    int
        Exit code: 0 all pairs done, 1 at least one failed, 2 the input cannot be used, 128 + signal when interrupted.

    """

    def work() -> int:
        settings = parse_settings(argv)
        from bidsreg.app.run import run

        return run(settings)

    return exit_code('bidsreg', work)
