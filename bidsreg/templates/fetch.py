"""Templates that are fetched: what is missing of one of TemplateFlow is got by its client, before any work.

The client works in a process and in a folder of its own. What it has got is then moved to its place: so nothing
half-written stays, two runs do not write one file, and no folder is filled with empty files.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

from bidsreg.bids.spaces import Space
from bidsreg.errors import InputError
from bidsreg.registration.atomic import hidden_folder, write_atomic
from bidsreg.templates.sources import MissingTemplateError, has_content, how_to_get

LOGGER = logging.getLogger('bidsreg')

#: Words with which the variables of TemplateFlow's client say no, and yes.
OFF, ON = ('false', 'off', '0', 'no', 'n'), ('true', 'on', '1', 'yes', 'y')
#: The client may take so long, s: a template has some ten MB.
SECONDS = 1800
#: So much of the client's last words is passed on, characters.
LAST_WORDS = 300


def why_not_fetched(home: Path) -> str | None:
    """Say why nothing is fetched into a folder; None where something is."""
    if os.environ.get('TEMPLATEFLOW_AUTOUPDATE', '').lower() in OFF:
        return 'TEMPLATEFLOW_AUTOUPDATE forbids to fetch it.'
    if os.environ.get('TEMPLATEFLOW_USE_DATALAD', '').lower() in ON:
        return 'with TEMPLATEFLOW_USE_DATALAD it is for DataLad to fetch it.'
    if home.is_dir() and any(home.iterdir()) and not any(home.glob('tpl-*')):
        return f'nothing is fetched into {home}, which holds something else.'
    return None


def fetch_template(space: Space, home: Path, problem: MissingTemplateError) -> None:
    """Fetch what is missing of a template of TemplateFlow.

    Parameters
    ----------
    space
        What is asked for.
    home
        The folder of TemplateFlow, which is made where it is not there.
    problem
        What was found to be missing.

    Raises
    ------
    InputError
        When nothing may be fetched, the client is missing or fails, there is no such template, or its files cannot be
        written: the message says what is missing, why, and how to get it.
    """
    if why := why_not_fetched(home):
        raise InputError(f'{problem} ({why})') from problem
    LOGGER.info('Fetching the template %s into %s', space.label, home)
    is_new = not home.exists()
    try:
        with hidden_folder(home, space.label) as folder:
            for path in _download(space, folder, home):
                if not has_content(home / path):
                    (home / path).parent.mkdir(parents=True, exist_ok=True)
                    write_atomic(home / path, partial(shutil.copyfile, folder / path))
    except OSError as error:
        raise InputError(f'--output-spaces {space.name}: {home} cannot be written: {error}') from error
    finally:
        if is_new:
            with contextlib.suppress(OSError):  # it has something in it, and stays
                home.rmdir()


def _download(space: Space, folder: Path, home: Path) -> list[str]:
    """Let the client fill a folder; return the files of the template below it."""
    asked = {'name': space.name, 'cohort': space.cohort, 'resolutions': space.resolutions, 'home': str(folder)}
    command = [sys.executable, '-m', 'bidsreg.templates.download', json.dumps(asked)]
    environment = {**os.environ, 'TEMPLATEFLOW_HOME': str(folder)}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=SECONDS, errors='replace'
        )
    except subprocess.TimeoutExpired as error:
        raise InputError(
            f'--output-spaces {space.name}: it was not fetched in {SECONDS} s. {how_to_get(space, home)}'
        ) from error
    if done.returncode:
        said = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), f'exit {done.returncode}')
        raise InputError(
            f'--output-spaces {space.name}: it is not in {home}, and could not be fetched: '
            f'{said.strip()[:LAST_WORDS]}. {how_to_get(space, home)}'
        )
    answer = json.loads(done.stdout.splitlines()[-1])
    if refused := answer.get('refused'):
        raise InputError(refused.replace(str(folder), str(home)))
    return list(answer['files'])
