"""The app's own checks: what can be known to be wrong before any work is said before any work."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

from bidsreg.bids.dataset import check_output_dataset
from bidsreg.bids.pairs import Pair
from bidsreg.bids.spaces import parse_spaces
from bidsreg.errors import InputError
from bidsreg.execution.checks import check_device, check_temporary, check_writable
from bidsreg.execution.plugins import read_plugin
from bidsreg.execution.private import prepare_work_folder
from bidsreg.programs import APP_PROGRAMS, PROGRAMS
from bidsreg.qc.verdict import read_thresholds
from bidsreg.registration.presets import PRESETS
from bidsreg.settings import WORKING_RESOLUTION, Settings
from bidsreg.templates.fetch import fetch_template, why_not_fetched
from bidsreg.templates.prepare import check_template
from bidsreg.templates.sources import MissingTemplateError, templateflow_home
from bidsreg.validation import suggestion

LOGGER = logging.getLogger('bidsreg')

VALIDATOR = 'bids-validator-deno'
VALIDATOR_SECONDS = 600


def check_settings(settings: Settings) -> None:
    """Check what can be checked without looking at images, and without writing anything.

    Raises
    ------
    InputError
        At the first thing that stops the run.

    """
    check_method(settings.method)
    check_program(settings)
    check_ratio(settings)
    check_dataset(settings)
    check_folders(settings)
    check_output_dataset(settings.output_dir)
    read_plugin(settings.use_plugin)
    check_thresholds(settings)
    check_spaces(settings)
    check_device(settings)


def check_ratio(settings: Settings) -> None:
    """Raise when a ratio is asked for, and the contrasts that are registered have none."""
    lacking = {'T1w', 'T2w'} - set(settings.contrasts)
    if settings.ratio != 'none' and lacking:
        raise InputError(
            f'--ratio {settings.ratio} is made of a T1w and a T2w: add {" and ".join(sorted(lacking))} to --modalities.'
        )


def check_spaces(settings: Settings) -> None:
    """Raise when a space is not understood, or its template cannot be had, is not whole, or without a brain mask.

    What is missing of a template of TemplateFlow is fetched, where that is allowed.
    """
    home = templateflow_home(settings.templateflow_home)
    for space in parse_spaces(settings.output_spaces):
        try:
            check_template(space, home)
        except MissingTemplateError as error:
            if settings.dry_run and why_not_fetched(home) is None:
                LOGGER.warning('%s A run would try to fetch it.', error)
                continue
            fetch_template(space, home, error)
            check_template(space, home)


def check_thresholds(settings: Settings) -> None:
    """Raise when the user's own thresholds cannot be read."""
    try:
        read_thresholds(settings.qc_thresholds)
    except (ValueError, RecursionError) as error:
        raise InputError(f'--qc-thresholds {settings.qc_thresholds} cannot be read: {error}') from error


def check_method(method: str) -> None:
    """Raise unless the method is a preset or one of the programs."""
    known = [*PRESETS, *APP_PROGRAMS]
    if method in PROGRAMS and method not in known:
        raise InputError(f'--method {method}: this one is for comparisons, and only bidsreg-pair has it.')
    if method not in known:
        raise InputError(f'--method {method}: there is no such method.{suggestion(method, known)}')


def check_program(settings: Settings) -> None:
    """Raise when the method is another program that is missing, or that what else was asked for does not go with."""
    program = APP_PROGRAMS.get(settings.method)
    if program is None:
        return
    if settings.device.startswith('cuda'):
        raise InputError(f'--method {program.name} works on the CPU only: use --device cpu, not {settings.device}.')
    if settings.working_resolution != WORKING_RESOLUTION:
        raise InputError(f'--method {program.name} works on the grid of the T1w: leave --working-resolution out.')
    if missing := program.missing():
        if settings.use_plugin is None:
            raise InputError(f'--method {program.name}: {missing}.')
        LOGGER.warning('--method %s: %s (here; the plugin may run the work elsewhere)', program.name, missing)


def why_not_left_out(pair: Pair, settings: Settings) -> list[str]:
    """Say why the method cannot leave the lesions of a pair out; nothing where it can, or there are none."""
    program = APP_PROGRAMS.get(settings.method)
    lesions = {'fixed': pair.fixed_lesions, 'moving': pair.moving_lesions}
    if program is None:
        return []
    return [f'--method {why}' for end, files in lesions.items() if files and (why := program.cannot_leave_out(end))]


def check_dataset(settings: Settings) -> None:
    """Raise unless the input looks like a raw BIDS dataset."""
    folder = settings.bids_dir
    if not folder.is_dir():
        raise InputError(f'{folder} is not a folder.')
    path = folder / 'dataset_description.json'
    if not path.is_file():
        raise InputError(f'{folder} is not a BIDS dataset: it has no dataset_description.json.')
    try:
        description = json.loads(path.read_text(encoding='utf-8-sig'))
    except (OSError, ValueError) as error:
        raise InputError(f'{path} cannot be read: {error}') from error
    if not isinstance(description, dict):
        raise InputError(f'{path} holds no JSON object, which is {{"Name": ..., "BIDSVersion": ...}} there.')
    missing = [key for key in ('Name', 'BIDSVersion') if not description.get(key)]
    if missing and not settings.skip_bids_validation:
        raise InputError(f'{path} has no {" and no ".join(missing)} (--skip-bids-validation goes on without).')
    if not any(path.is_dir() for path in folder.glob('sub-*')):
        raise InputError(f'{folder} has no subject (no folder sub-*){_further_down(folder)}.')


def _further_down(folder: Path) -> str:
    """Name the dataset that lies in a folder, such as the rawdata of a study; empty where none does."""
    inner = [path.parent for path in sorted(folder.glob('*/dataset_description.json'))]
    found = next((place for place in inner if any(place.glob('sub-*'))), None)
    return f', but {found} has some: give that' if found else ''


def check_folders(settings: Settings) -> None:
    """Raise when output or work folder would litter the raw dataset, or another folder is missing."""
    bids, out, work = (Path(os.path.realpath(path)) for path in _folders(settings))
    if out == bids:
        raise InputError(f'The output folder is the BIDS folder ({out}): give another, for example {_example(bids)}.')
    derivatives = bids / 'derivatives'
    if out == derivatives or (out.is_relative_to(bids) and not out.is_relative_to(derivatives)):
        raise InputError(f'The output folder {out} lies in the BIDS folder: only {_example(bids)} or the like may.')
    if work.is_relative_to(bids):
        raise InputError(f'The work folder {work} lies in the BIDS folder: give another with -w.')
    if work == out:
        raise InputError(f'The work folder is the output folder ({out}): give another with -w.')
    if set(str(work)) & set('[]'):  # Nipype looks its own files up by patterns, in which brackets mean something else
        raise InputError(f'The work folder {work} has a square bracket in its path: give another with -w.')
    for folder in settings.derivatives:
        if not folder.is_dir():
            raise InputError(f'--derivatives {folder} is not a folder.')


def _folders(settings: Settings) -> tuple[Path, Path, Path]:
    return settings.bids_dir, settings.output_dir, settings.work_dir


def _example(bids: Path) -> Path:
    return bids / 'derivatives' / 'bidsreg'


def check_folders_writable(settings: Settings) -> None:
    """Make the folders of a run and write a file into each; raise :class:`InputError` when that fails."""
    folders = {'output': settings.output_dir, 'work': settings.work_dir, 'database': settings.bids_database_dir}
    prepare_work_folder(settings.work_dir, settings.shared_work_dir)
    check_writable(folders)
    check_temporary()


def check_study(settings: Settings) -> None:
    """Raise unless the output folder is one of this program, and a page of the study can be written into it.

    Raises
    ------
    InputError
        When it is missing, raw data, of another program, not to be written, or when the thresholds cannot be read.
    """
    folder = settings.output_dir
    if not folder.is_dir():
        raise InputError(f'{folder} is not a folder: run the participant level first.')
    check_output_dataset(folder)
    check_thresholds(settings)
    if not settings.dry_run:
        check_writable({'output': folder})


def validate_bids(settings: Settings) -> None:
    """Run the BIDS validator, where it is installed, and log its errors as warnings: it never stops the run."""
    if settings.skip_bids_validation:
        return
    program = shutil.which(VALIDATOR) or shutil.which(VALIDATOR, path=str(Path(sys.executable).parent))
    if program is None:
        LOGGER.debug('%s is not installed: the dataset is not validated.', VALIDATOR)
        return
    command = [program, str(settings.bids_dir), '--json', '--ignoreWarnings']
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=VALIDATOR_SECONDS)
        issues = json.loads(done.stdout)['issues']['issues']
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError, TypeError) as error:
        LOGGER.warning('The BIDS validator did not work (%s); going on without.', type(error).__name__)
        return
    places: dict[str, list[str]] = {}
    for issue in issues:
        if issue.get('severity') == 'error':
            places.setdefault(str(issue.get('code')), []).append(str(issue.get('location', '')))
    for code, where in places.items():
        LOGGER.warning('BIDS validator: %s (%d times, for example %s)', code, len(where), where[0])
