"""What earlier runs left in the work folder: a step whose files are damaged is forgotten, so that it runs again."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from nipype.pipeline.engine.utils import load_resultfile

from bidsreg.checksums import find_damage

LOGGER = logging.getLogger('bidsreg')


def forget_damaged(folder: Path, name: str, content: bool = True) -> list[str]:
    """Remove the folders of steps that ended well and whose files are not as they left them.

    Nipype takes such a step for done, and every later one would fail on its files in this run and the next.

    Parameters
    ----------
    folder
        Of a pair's workflow in the work folder; it need not be there.
    name
        Of the pair, for the log.
    content
        Read the files; otherwise only their sizes are compared.

    Returns
    -------
    list of str
        The steps that will run again.
    """
    forgotten = []
    for result in sorted(folder.rglob('result_*.pklz')):
        step = result.parent
        if step.is_dir() and _is_finished(step) and (damage := _find_damage(result, content)):
            LOGGER.warning('%s: %s runs again: in %s %s', name, step.name, step, damage)
            shutil.rmtree(step, ignore_errors=True)
            forgotten.append(step.name)
    return forgotten


def _is_finished(step: Path) -> bool:
    return any(not path.name.endswith('_unfinished.json') for path in step.glob('_0x*.json'))


def _find_damage(result: Path, content: bool) -> str:
    try:
        load_resultfile(str(result))
    except Exception as error:  # whatever unpickling half a file raises; a file that is missing, too
        return f'{result.name} cannot be used ({type(error).__name__})'
    return find_damage(result.parent, content)
