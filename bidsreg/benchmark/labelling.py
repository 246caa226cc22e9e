"""Labels for scans that have none: ``--label-with``. They are what a program says, and no truth: tables say so.

Each pair of scans is labelled once, in a process of its own, and its labels stay in the folder of the results.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from bidsreg.benchmark.labels import read_label_list
from bidsreg.environment import for_threads
from bidsreg.errors import InputError

if TYPE_CHECKING:
    from bidsreg.registration.image import Image

LOGGER = logging.getLogger('bidsreg')

#: The folder of the results that holds the labels.
FOLDER = 'labels'
#: So many of the last lines of a program that failed are told.
LAST_LINES = 3


@dataclass(frozen=True, kw_only=True)
class LabelTask:
    """The two scans of a pair, and where their labels go.

    Attributes
    ----------
    name : str
        Name of the pair.
    fixed, moving : str
        The raw scans. All paths are absolute.
    fixed_labels, moving_labels : str
        Label images to write, each on the grid of its scan.
    fixed_contrast, moving_contrast : str
        Suffixes of the scans, which differ.
    mask : str or None
        The user's own brain mask of the fixed scan.
    threads, seed : int
        As many threads may be used; the start of what is random.
    """

    name: str
    fixed: str
    moving: str
    fixed_labels: str
    moving_labels: str
    fixed_contrast: str = 'T1w'
    moving_contrast: str = 'T2w'
    mask: str | None = None
    threads: int = 1
    seed: int = 0

    def is_done(self) -> bool:
        """Tell whether both label images are there."""
        return Path(self.fixed_labels).is_file() and Path(self.moving_labels).is_file()


class Labeller(ABC):
    """A way to label the two scans of a pair.

    Attributes
    ----------
    name : str
        What ``--label-with`` calls it.
    caption : str
        What tables call the labels, with the places of :meth:`bidsreg.bids.names.Contrasts.fill`.
    fixed_contrast : str
        The one contrast of fixed scans that it can label; empty: any.
    """

    name: str = ''
    caption: str = ''
    fixed_contrast: str = ''

    @abstractmethod
    def names(self) -> dict[int, str]:
        """Return the names of the labels that count, by value."""

    def missing(self) -> str:
        """Say what is absent and how to get it; return an empty text when it can be used here."""
        return ''

    @abstractmethod
    def label(self, task: LabelTask) -> None:
        """Write both label images.

        Raises
        ------
        InputError
            If a scan cannot be labelled.
        """


class Atropos(Labeller):
    """Three tissue classes of the T1w, bright vessels clipped, carried to the other scan by a rigid of the two."""

    name = 'atropos'
    caption = 'tissue classes by Atropos on the {fixed}, carried to the {moving} by a rigid'
    fixed_contrast = 'T1w'

    def names(self) -> dict[int, str]:
        """Return the three classes."""
        return {1: 'csf', 2: 'grey', 3: 'white'}

    def label(self, task: LabelTask) -> None:
        """Find the brain, correct the bias field, divide the tissue, and carry it over."""
        import numpy as np

        from bidsreg.benchmark.tissue import carried_labels, corrected
        from bidsreg.preparation.prealign import prealign
        from bidsreg.preparation.skullstrip import brain_mask
        from bidsreg.preparation.tissue import tissue_classes
        from bidsreg.registration.image import Image

        with in_scratch():
            scans = _conformed(task)
            fixed, moving = f'{task.fixed_contrast}.nii.gz', f'{task.moving_contrast}.nii.gz'
            inside, _ = brain_mask(fixed, user_mask=task.mask, threads=task.threads)
            classes = tissue_classes(corrected(scans[task.fixed_contrast], inside), inside)
            rigid, _ = prealign(fixed, moving, stage='rigid', seed=task.seed)
        grid = scans[task.moving_contrast].grid
        moved = carried_labels(classes, np.linalg.inv(rigid), grid)
        save_labels(task.fixed_labels, classes)
        save_labels(task.moving_labels, Image(moved, grid))


class Samseg(Labeller):
    """The structures that SAMSEG finds in either scan by itself, whatever its contrast."""

    name = 'samseg'
    caption = 'structures by SAMSEG on each scan'

    def names(self) -> dict[int, str]:
        """Return the 32 labels that SAMSEG shares with SynthSeg."""
        return read_label_list()

    @staticmethod
    def program() -> str | None:
        """Return the path of run_samseg: what SAMSEG names, else what is on the PATH."""
        found = shutil.which(os.environ.get('SAMSEG') or 'run_samseg')
        return None if found is None else str(Path(found).absolute())  # its folder has its Python: no link is followed

    def missing(self) -> str:
        """Say how to get it: it wants an environment of its own, with NumPy 1."""
        if self.program():
            return ''
        return (
            'run_samseg is neither on the PATH nor named by the variable SAMSEG; python3.11 -m venv samseg, '
            'samseg/bin/pip install samseg==0.4a0 and SAMSEG=samseg/bin/run_samseg'
        )

    def label(self, task: LabelTask) -> None:
        """Run the program on both scans."""
        import numpy as np

        from bidsreg.registration.image import Image

        program = self.program()
        if program is None:
            raise InputError(self.missing())
        with in_scratch():
            scans = _conformed(task)
            for contrast, out in zip(scans, (task.fixed_labels, task.moving_labels), strict=True):
                _run_samseg(program, contrast, task.threads)
                found = Image.load(Path(contrast) / 'seg.mgz', dtype=np.int32)
                if not found.grid.same_as(scans[contrast].grid):
                    raise InputError(f'run_samseg wrote labels on another grid than that of the {contrast}')
                save_labels(out, Image(found.data.astype(np.int16), scans[contrast].grid))


def _run_samseg(program: str, contrast: str, threads: int) -> None:
    """Run it in the current folder; in a T2w or a FLAIR the pallidum is no white matter."""
    own = ['--pallidum-separate'] if contrast in ('T2w', 'FLAIR') else []
    words = [program, '-i', f'{contrast}.nii.gz', '-o', contrast, '--threads', str(threads), *own]
    done = subprocess.run(words, capture_output=True, text=True, errors='replace', check=False)
    if done.returncode:
        raise InputError(f'run_samseg ended with {done.returncode} on the {contrast}: {_last_lines(done.stderr)}')


LABELLERS: dict[str, Labeller] = {labeller.name: labeller for labeller in (Atropos(), Samseg())}
"""Every way to label, by its name."""


def label_files(folder: Path, labeller: str, pair: str, moving_contrast: str = 'T2w') -> dict[str, Path]:
    """Return where the labels of a pair lie in the folder of the results, by their role in a case."""
    place = folder / FOLDER / labeller
    return {
        'fixed_labels': place / f'{pair}_dseg.nii.gz',
        'moving_labels': place / f'{pair}_space-{moving_contrast}_dseg.nii.gz',
    }


def make_labels(labeller: str, tasks: Iterable[LabelTask]) -> dict[str, str]:
    """Label what has no labels yet, one pair after the other.

    Returns
    -------
    dict
        Why a pair could not be labelled, by its name.
    """
    failed = {}
    for task in tasks:
        if task.is_done():
            continue
        LOGGER.info('%s: labels by %s', task.name, labeller)
        words = [sys.executable, '-m', 'bidsreg.benchmark.labelling', labeller, json.dumps(asdict(task))]
        done = subprocess.run(
            words, capture_output=True, text=True, errors='replace', check=False, env=for_threads(task.threads)
        )
        if done.returncode or not task.is_done():
            failed[task.name] = _last_lines(done.stderr) or f'it ended with {done.returncode}'
            LOGGER.warning('%s could not be labelled: %s', task.name, failed[task.name])
            LOGGER.debug('%s', done.stderr)
    return failed


@contextlib.contextmanager
def in_scratch() -> Any:
    """Work in a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix='bidsreg-labels-') as folder, contextlib.chdir(folder):
        yield


def _conformed(task: LabelTask) -> dict[str, Image]:
    """Write both scans with sane headers into the current folder, and return them by contrast, the fixed one first."""
    import numpy as np

    from bidsreg.bids.headers import load_sane
    from bidsreg.registration.grid import Grid
    from bidsreg.registration.image import Image

    scans = {}
    for contrast, path in ((task.fixed_contrast, task.fixed), (task.moving_contrast, task.moving)):
        scan = load_sane(path)
        data = np.asarray(scan.dataobj, np.float32)
        scans[contrast] = Image(data, Grid(cast(Any, data.shape), cast(np.ndarray, scan.affine)))
        scans[contrast].save(f'{contrast}.nii.gz')
    return scans


def save_labels(path: str, labels: Image) -> None:
    """Write a label image; it appears whole or not at all."""
    from bidsreg.registration.atomic import write_atomic

    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_atomic(Path(path), labels.save)


def _last_lines(text: str) -> str:
    return ' | '.join([line.strip() for line in text.splitlines() if line.strip()][-LAST_LINES:])


def main(argv: Sequence[str]) -> int:
    """Label one pair: the name of the labeller, and its task as JSON.

    Returns
    -------
    int
        0 when it is done, 1 when a scan cannot be labelled.
    """
    name, text = argv
    values: Mapping[str, Any] = json.loads(text)
    try:
        LABELLERS[name].label(LabelTask(**values))
    except (InputError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
