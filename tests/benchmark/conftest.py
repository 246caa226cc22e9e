"""A table of two pairs of small heads, and a solver that pretends."""

from __future__ import annotations

import shlex
import shutil
import sys

import nibabel as nb
import numpy as np
import pytest
from nipype import config

from bidsreg.benchmark import figures
from bidsreg.benchmark.methods import resolve_all
from bidsreg.benchmark.results import results_table
from bidsreg.benchmark.settings import BenchmarkSettings
from tests import data

SHAPE = (36, 42, 36)
#: Labels of the synthetic heads: tissues as they are numbered there.
LABELS = 'index\tname\n1\tLeft-White-Matter\n2\tRight-Grey-Matter\n4\tDeep\n'

#: Rows of a table, and their mean Dice.
METHODS = resolve_all(['affine', 'ants-syn', 'node-mind', 'node-ngf'], 'intra')
DICE = {'affine': 0.5, 'ants-syn': 0.6, 'node-mind': 0.8, 'node-ngf': 0.7}

FAKE_PAIR = """\
import json, os, shutil, subprocess, sys
from pathlib import Path
args = sys.argv[1:]
here = Path(sys.argv[0]).parent
asked = dict(zip(args, args[1:]))
with open(here / 'calls.txt', 'a') as calls:
    calls.write(json.dumps(args) + chr(10))
if (here / ('fail-' + asked['--method'])).exists():
    print('bidsreg-pair: failed: the program has vanished', file=sys.stderr)
    sys.exit(1)
killer = here / ('kill-once-' + asked['--method'])
if killer.exists():
    killer.unlink()
    os.kill(os.getpid(), 9)
subprocess.run([sys.executable, '-c', 'import time' + chr(10) + 'while time.process_time() < .2: pass'])
out = Path(asked['--out'])
out.mkdir()
for name in ('forward.h5', 'inverse.h5'):
    shutil.copy(here / name, out / name)
for name in ('warped', 'jacobian'):
    (out / (name + '.nii.gz')).touch()
result = {'seconds': {'load': 1, 'solve': 5, 'finish': 2, 'total': 9}, 'peak_memory_mb': 321.5, 'threads': 1,
          'device': 'cpu', 'versions': {'pretender': '1.2'}, 'events': []}
(out / 'result.json').write_text(json.dumps(result))
"""


@pytest.fixture(autouse=True)
def quick_nipype(monkeypatch):
    """Nothing is looked up, and little waited for."""
    monkeypatch.setenv('NIPYPE_NO_ET', '1')
    monkeypatch.setattr('bidsreg.execution.local.POLL_SECONDS', 0.03)
    before = config.get('execution', 'poll_sleep_duration')
    yield
    config.set('execution', 'poll_sleep_duration', before)


@pytest.fixture(scope='session')
def drawn():
    """Files of figures that were drawn in this session, by name."""
    return {}


@pytest.fixture(autouse=True)
def quick_figures(monkeypatch, drawn):
    """Figures are drawn coarsely, and in whole benchmarks only the first of each name: later ones are its copies."""
    monkeypatch.setattr(figures, 'DPI', 40)

    def save(figure, path, draw=figures.save):
        if path.name not in drawn:
            draw(figure, path)
            drawn[path.name] = path.read_bytes()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(drawn[path.name])

    monkeypatch.setattr(figures, 'save', save)


@pytest.fixture(scope='session')
def heads():
    """Two heads in T1w and T2w; the T2w are moved a little."""
    return [data.pair(SHAPE, seed, known=data.truth(seed, (2, -1, 2), (2, -1, 1), amplitude=1.5)) for seed in (0, 1)]


@pytest.fixture
def table(heads, tmp_path):
    """A table of two pairs with all columns, in a folder with a space; the label list is beside it."""
    folder = tmp_path / 'my data'
    rows = []
    for n, head in enumerate(heads):
        head.save(folder / str(n))
        np.savetxt(folder / f'{n}/points.tsv', head.points, delimiter='\t', header='x\ty\tz\tx2\ty2\tz2', comments='')
        roles = ('fixed', 'moving', 'fixed_labels', 'moving_labels', 'fixed_mask', 'moving_mask')
        rows.append([f'{n}/{role}.nii.gz' for role in roles] + [f'{n}/points.tsv'])
    columns = [*roles, 'points']
    write_tsv(folder / 'pairs.tsv', columns, rows)
    (folder / 'labels.tsv').write_text(LABELS)
    return folder / 'pairs.tsv'


@pytest.fixture
def pretender(heads, tmp_path, monkeypatch):
    """A solver that answers with the true affine; in its folder ``fail-METHOD`` makes a method fail, and
    ``kill-once-METHOD`` has it killed, once."""
    from bidsreg.interfaces.register import Register
    from bidsreg.registration.deformation import Deformation
    from bidsreg.registration.grid import Grid

    folder = tmp_path / 'pretender'
    folder.mkdir()
    still = Deformation.from_affine(heads[0].truth.matrix, Grid(SHAPE, heads[0].fixed.affine))
    still.save(folder / 'forward.h5')
    still.inverted().save(folder / 'inverse.h5')
    (folder / 'pair.py').write_text(FAKE_PAIR)
    monkeypatch.setattr(Register, '_cmd', f'{shlex.quote(sys.executable)} {shlex.quote(str(folder / "pair.py"))}')
    return folder


@pytest.fixture(scope='session')
def bids(heads, tmp_path_factory):
    """Three subjects with labels of both scans in derivatives; the third one's T2w has none."""
    root = tmp_path_factory.mktemp('bids') / 'raw'
    subjects = {label: {None: ['T1w', 'T2w']} for label in ('01', '02', '03')}
    images = {}
    for n, label in enumerate(subjects):
        head = heads[n % 2]
        images[f'sub-{label}_T1w.nii.gz'], images[f'sub-{label}_T2w.nii.gz'] = head.fixed, head.moving
    data.write_dataset(root, subjects, images=images)
    truth = root / 'derivatives' / 'truth'
    for n, label in enumerate(subjects):
        anat = truth / f'sub-{label}' / 'anat'
        anat.mkdir(parents=True)
        head = heads[n % 2]
        nb.save(head.fixed_labels, anat / f'sub-{label}_dseg.nii.gz')
        nb.save(head.fixed_mask, anat / f'sub-{label}_desc-brain_mask.nii.gz')
        if label != '03':
            nb.save(head.moving_labels, anat / f'sub-{label}_space-T2w_dseg.nii.gz')
    header = 'x_T1w\ty_T1w\tz_T1w\tx_T2w\ty_T2w\tz_T2w'
    points = truth / 'sub-01' / 'anat' / 'sub-01_from-T1w_to-T2w_points.tsv'
    np.savetxt(points, heads[0].points, delimiter='\t', header=header, comments='')
    (truth / 'dataset_description.json').write_text('{"Name": "truth", "BIDSVersion": "1.10.0"}')
    return root


@pytest.fixture
def flair(bids, tmp_path):
    """The same three subjects, whose T2w is called a FLAIR everywhere."""
    root = shutil.copytree(bids, tmp_path / 'flair')
    for path in sorted(root.rglob('*T2w*')):
        path.rename(path.with_name(path.name.replace('T2w', 'FLAIR')))
    return root


def write_tsv(path, columns, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('\n'.join('\t'.join(map(str, row)) for row in [columns, *rows]) + '\n')


def lines_of(table):
    return [line.split('\t') for line in table.read_text().splitlines()]


def settings(source, tmp_path, **options):
    return BenchmarkSettings(input=source, output_dir=tmp_path / 'out', methods=('affine',), **options)


@pytest.fixture
def results():
    cells = []
    for pair in range(6):
        for n, (method, dice) in enumerate(DICE.items()):
            cell = {'pair': f'p{pair}', 'method': method, 'status': 'done', 'dice_mean': dice + 0.01 * pair}
            cell |= {'folds': 3 * (method == 'ants-syn'), 'folds_percent': 0.0, 'sdlogj': 0.1 * n}
            cells.append(cell if method == 'affine' else cell | {'seconds': 10.0 * n})
    cells[-1] = {'pair': 'p5', 'method': 'node-ngf', 'status': 'failed', 'reason': 'out of 100 % memory_'}
    return results_table(cells)


def row_of(table, name):
    rows = {row[0].text: row for _, rows in table.groups for row in rows}
    return dict(zip(table.columns, rows[name], strict=True))
