"""The script that writes the page of the benchmark: what stands between its marks, and of which commit it is."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys

import nibabel as nib
import numpy as np
import page
import pytest

from bidsreg.benchmark.methods import known_methods
from bidsreg.registration.deformation import Deformation
from bidsreg.registration.image import Image
from tests import data
from tests.benchmark.conftest import FAKE_PAIR

TEXT = 'Before.\n\n<!-- page.py: tiny -->\nold\n<!-- page.py: end of tiny -->\n\nAfter.\n'
RUNNER = """\
import sys
from bidsreg.benchmark import figures
from bidsreg.benchmark.cli import main
from bidsreg.interfaces.register import Register
figures.DPI = 40
Register._cmd = {command!r}
open({log!r}, 'a').write(' '.join(sys.argv[1:]) + chr(10))
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def checkout(tmp_path):
    """A repository with a package."""
    root = tmp_path / 'checkout'
    for part in page.PACKAGE:
        (root / part).mkdir(parents=True)
        (root / part / 'a.py').write_text('1\n')
    git('init', '-q', root=root)
    commit(root)
    return root


def git(*words, root):
    who = ['-c', 'user.name=a', '-c', 'user.email=a@b.c', '-c', 'commit.gpgsign=false']
    subprocess.run(['git', '-C', str(root), *who, *words], check=True, capture_output=True)


def commit(root):
    git('add', '-A', root=root)
    git('commit', '-qm', 'one', root=root)


@pytest.fixture
def text(tmp_path):
    path = tmp_path / 'docs' / 'page.md'
    path.parent.mkdir()
    path.write_text(TEXT)
    return path


@pytest.fixture
def tiny(datasets, tmp_path, monkeypatch):
    """One head with known points as the only table, and a solver that answers with the truth; what it was asked for."""
    heads, folder = shutil.copytree(datasets / 'heads', tmp_path / 'heads'), tmp_path / 'pretender'
    folder.mkdir()
    known = data.truth(2, turn=(3, 2, -4), amplitude=10)  # as the fixture made it
    head, truth = data.pair(seed=2, known=known), heads / 'derivatives/truth/sub-01/anat'
    nib.save(head.moving_mask, truth / 'sub-01_space-T2w_desc-brain_mask.nii.gz')
    points = truth / 'sub-01_from-T1w_to-T2w_points.tsv'
    np.savetxt(points, head.points, delimiter='\t', header='\t'.join('xyzabc'), comments='')
    fixed = Image.load(heads / 'sub-01/anat/sub-01_T1w.nii.gz')
    still = Deformation.from_affine(known.matrix, fixed.grid)
    still.save(folder / 'forward.h5')
    still.inverted().save(folder / 'inverse.h5')
    (folder / 'pair.py').write_text(FAKE_PAIR)
    command = f'{shlex.quote(sys.executable)} {shlex.quote(str(folder / "pair.py"))}'
    (folder / 'run.py').write_text(RUNNER.format(command=command, log=str(folder / 'log.txt')))
    options = ('--prealign', 'none', '--bias-correction', 'none', '--labels', str(datasets / 'labels.tsv'))
    methods = ('affine', 'node-mind', 'ants-syn', 'ants-syn-cc', 'synthmorph')
    table = page.PageTable('tiny', 'tiny', 'HEADS', 'Made up.', 'intra', options, methods, 'picture.png')
    monkeypatch.setattr(page, 'TABLES', {'tiny': table})
    monkeypatch.setattr(page, 'BENCHMARK', (sys.executable, str(folder / 'run.py')))
    monkeypatch.setattr('bidsreg.benchmark.figures.write_figures', lambda *_: None)
    monkeypatch.setenv('PATH', '/usr/bin:/bin')
    return folder, f'tiny={heads}'


# ---------------------------------------------------------------------------------------------------- what is written
@pytest.mark.slow
def test_a_table_is_run_once_and_written_between_its_marks(tiny, checkout, text, tmp_path, monkeypatch):
    folder, there = tiny
    words = [str(tmp_path / 'out'), '--data', there, '--page', str(text), '--leave-out', 'ants-syn-cc']
    page.main(words, checkout)
    made = text.read_text()
    head = subprocess.run(['git', '-C', checkout, 'rev-parse', '--short=7', 'HEAD'], capture_output=True, text=True)
    assert made.startswith('Before.\n\n<!-- page.py: tiny -->\nMade up. 1 pair; bidsreg of commit ')
    assert made.endswith('\n\n<!-- page.py: end of tiny -->\n\nAfter.\n')
    assert f'commit {head.stdout.strip()};' in made
    assert '\nold\n' not in made
    assert '- Not run, as they were left out for time: ants-syn-cc.' in made
    assert '- Not run, as they are not installed: synthmorph.' in made
    rows = [line.split(' | ')[0].strip('| ') for line in made.splitlines() if line.startswith('| `')]
    # the pretender is better than the affine that is none, and comes after it
    assert rows[0] == '`affine`'
    assert set(rows) == {'`affine`', '`node-mind`', '`ants-syn`'}
    assert 'TRE (mm)' in made
    assert not any(name in made for name in ('Pairs |', 'Sum ', 'As published'))
    assert made.index('Mean ± standard') < made.index('```') < made.index('| Method')
    assert (text.parent / 'picture.png').read_bytes() == (tmp_path / 'out/tiny/figures/tre.png').read_bytes()
    # again: nothing is computed, the same is written
    calls = (folder / 'calls.txt').read_text()
    page.main(words, checkout)
    assert (folder / 'calls.txt').read_text() == calls
    assert text.read_text() == made
    # a method that fails is a row, and does not stop the page
    (folder / 'fail-ants-syn-cc').touch()
    page.main(words[:-2], checkout)
    assert 'failed: ants-syn-cc on sub-01' in ' '.join(text.read_text().split())
    # the table's command broke off: the page stays
    made = text.read_text()
    monkeypatch.setattr(page, 'BENCHMARK', (sys.executable, '-c', 'import sys; sys.exit(2)'))
    with pytest.raises(SystemExit, match='ended with 2'):
        page.main(words, checkout)
    assert text.read_text() == made


# ---------------------------------------------------------------------------------------------------- one commit
def test_numbers_are_of_one_commit(checkout, tmp_path):
    out, state = tmp_path / 'out', page.state_of(checkout)
    assert page.claim(out, state) == state
    (checkout / 'README').write_text('2\n')
    commit(checkout)
    # a commit that leaves the package as it is changes no number: those that are there keep theirs
    assert page.state_of(checkout)['commit'] != state['commit']
    assert page.claim(out, page.state_of(checkout)) == state
    with pytest.raises(SystemExit, match='another machine'):
        page.claim(out, {**state, 'machine': 'abacus'})
    (checkout / 'workflows/a.py').write_text('2\n')
    with pytest.raises(SystemExit, match=r'Commit the package first(.|\n)*workflows/a\.py'):
        page.state_of(checkout)
    commit(checkout)
    with pytest.raises(SystemExit, match=f'numbers of commit {state["commit"]}; the package has changed'):
        page.claim(out, page.state_of(checkout))
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine/file').touch()
    with pytest.raises(SystemExit, match='no folder of this script'):
        page.claim(tmp_path / 'mine', state)


# ---------------------------------------------------------------------------------------------------- the page
@pytest.mark.parametrize(
    'broken', [TEXT * 2, TEXT.replace('end of', 'end'), 'Nothing.\n', TEXT.replace('page.py', '', 1)]
)
def test_a_page_without_its_marks_is_refused_before_any_work(broken, checkout, text, tmp_path, monkeypatch):
    table = page.PageTable('tiny', 'tiny', 'PAIRS', 'Made up.')
    monkeypatch.setattr(page, 'TABLES', {'tiny': table})
    text.write_text(broken)
    with pytest.raises(SystemExit, match='needs the lines'):
        page.main([str(tmp_path / 'out'), '--data', f'tiny={tmp_path}', '--page', str(text)], checkout)
    assert not (tmp_path / 'out').exists()
    assert text.read_text() == broken


def test_the_page_has_the_marks_of_every_table():
    text = page.PAGE.read_text(encoding='utf-8')
    for name, table in page.TABLES.items():
        assert page.put(text, name, 'x') != text
        assert ('Simulated' in table.caption) != ('Real' in table.caption)
    assert set(page.METHODS) | {f'{name}{page.INTER}' for name in page.METHODS} >= set(known_methods())


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        ('nobody=.', 'NAME=DIR is wanted'),
        ('heads-2mm', 'NAME=DIR is wanted'),
        ('heads-2mm=', 'NAME=DIR is wanted'),
        ('heads-2mm=/nowhere', 'no folder: /nowhere'),
    ],
)
def test_data_that_are_not_known_or_not_there_are_refused(given, message, tmp_path, capsys):
    with pytest.raises(SystemExit):
        page.main([str(tmp_path / 'out'), '--data', given])
    assert message in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


def test_a_command_over_several_lines_is_one_for_a_shell():
    words = ['bidsreg-benchmark', 'HEADS', 'OUT', '--methods', *page.METHODS]
    lines = page.wrapped(words)
    assert len(lines) > 1
    assert max(map(len, lines)) <= 120
    assert shlex.split('\n'.join(lines).replace('\\\n', '')) == words
