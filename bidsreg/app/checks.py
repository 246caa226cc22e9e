"""Everything that can be known to be wrong before any work, said before any work."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bidsreg.bids.dataset import check_output_dataset
from bidsreg.errors import InputError
from bidsreg.execution.devices import count_gpus
from bidsreg.programs import APP_PROGRAMS, PROGRAMS
from bidsreg.qc.verdict import read_thresholds
from bidsreg.registration.presets import PRESETS
from bidsreg.settings import WORKING_RESOLUTION, Settings, suggestion

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
    check_dataset(settings)
    check_folders(settings)
    check_output_dataset(settings.output_dir)
    read_plugin(settings.use_plugin)
    read_thresholds(settings.qc_thresholds)
    check_device(settings)


def check_method(method: str) -> None:
    """Raise unless the method is one of the presets or baselines."""
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
    missing = [key for key in ('Name', 'BIDSVersion') if not (isinstance(description, dict) and description.get(key))]
    if missing and not settings.skip_bids_validation:
        raise InputError(f'{path} has no {" and no ".join(missing)} (--skip-bids-validation goes on without).')
    if not any(path.is_dir() for path in folder.glob('sub-*')):
        raise InputError(f'{folder} has no subject (no folder sub-*).')


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


def check_writable(settings: Settings) -> None:
    """Make the output and the work folder and write a file into each; raise when that fails."""
    places = {'output': settings.output_dir, 'work': settings.work_dir, 'database': settings.bids_database_dir}
    for name, folder in places.items():
        if folder is not None:
            _probe(name, folder)


def _probe(name: str, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b'0' * 4096)
    except OSError as error:
        raise InputError(f'The {name} folder {folder} cannot be written: {error.strerror}.') from error


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
    read_thresholds(settings.qc_thresholds)
    if not settings.dry_run:
        _probe('output', folder)


def check_monitor() -> None:
    """Raise when the resource monitor is asked for and what it needs is missing."""
    if importlib.util.find_spec('psutil') is None:
        raise InputError('--resource-monitor needs the package psutil (pip install psutil).')


def check_device(settings: Settings) -> None:
    """Raise when a GPU is asked for and there is none; nothing else is ever taken instead."""
    if not settings.device.startswith('cuda'):
        return
    plugin, _ = read_plugin(settings.use_plugin)
    if plugin != 'MultiProc':
        if ':' in settings.device and plugin != 'Linear':
            raise InputError(
                f'--device {settings.device}: with {plugin} use --device cuda; it says which GPU a job gets.'
            )
        LOGGER.info('--device %s is not checked here: the plugin may run the work on another machine.', settings.device)
        return
    count = count_gpus()
    wanted = int(settings.device.partition(':')[2] or 0)
    if wanted >= count:
        raise InputError(
            f'--device {settings.device}: PyTorch sees {count or "no"} CUDA device(s) here. In a container pass the '
            'GPU on (docker run --gpus all, apptainer --nv), or use --device cpu.'
        )


def read_plugin(path: Path | None) -> tuple[str, dict[str, Any]]:
    """Read a file with a Nipype plugin, in fMRIPrep's format: YAML with ``plugin`` and ``plugin_args``.

    Returns
    -------
    plugin, plugin_args
        ``MultiProc`` and nothing when no file is given.

    """
    if path is None:
        return 'MultiProc', {}
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding='utf-8'))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f'--use-plugin {path} cannot be read: {error}') from error
    plugin = content.get('plugin') if isinstance(content, dict) else None
    arguments = (content.get('plugin_args') or {}) if plugin else {}
    if not isinstance(plugin, str) or not isinstance(arguments, dict):
        raise InputError(f'--use-plugin {path}: give "plugin: NAME", and the rest as a mapping under "plugin_args".')
    _check_plugin_name(plugin, path)
    return plugin, arguments


def _check_plugin_name(plugin: str, path: Path) -> None:
    from nipype.pipeline import plugins

    known = [name.removesuffix('Plugin') for name in dir(plugins) if name.endswith('Plugin')]
    if plugin not in known:
        raise InputError(f'--use-plugin {path}: Nipype has no plugin {plugin!r}.{suggestion(plugin, known)}')
    if plugin.endswith('Graph'):
        raise InputError(
            f'--use-plugin {path}: {plugin} does not wait for its jobs; use {plugin.removesuffix("Graph")}.'
        )
    from bidsreg.execution.batch.base import missing_programs

    if missing := missing_programs(plugin):
        raise InputError(
            f'--use-plugin {path}: {plugin} needs {", ".join(missing)}, not on the PATH here: start bidsreg where '
            'jobs are submitted. In a container use one job for each subject instead (docs/clusters.md).'
        )


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
