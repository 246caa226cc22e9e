"""Nobody reads what a command prints: its work and its exit code are the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CODE = """
import logging, os, sys, time
from bidsreg.streams import outlive_readers
outlive_readers()
print('é one', flush=True)
time.sleep(0.3)
for number in range(3000):
    print('more', number)
    print('more', number, file=sys.stderr, flush=True)
logging.basicConfig()
logging.warning('a log')
open(sys.argv[1], 'w').write('done')
sys.exit(int(sys.argv[2]))
"""


@pytest.mark.parametrize('code', [0, 1])
@pytest.mark.parametrize('end', ['| head -1', '2>&1 | head -1', '> /dev/full', '2> /dev/full', '>&-', '2>&- >&- <&-'])
def test_the_exit_code_is_that_of_the_work(tmp_path, code, end):
    goal = tmp_path / 'goal'
    words = f'set -o pipefail; "$0" -c "$1" "$2" {code} {end}'
    done = subprocess.run(
        ['bash', '-c', words, sys.executable, CODE, goal], cwd=ROOT, capture_output=True, check=False, text=True
    )
    assert done.returncode == code
    assert goal.read_text() == 'done'  # and nothing of what was printed, where its number was free
    assert 'Traceback' not in done.stderr
    assert 'Exception ignored' not in done.stderr


def test_what_is_read_arrives(tmp_path):
    done = subprocess.run(
        [sys.executable, '-c', CODE, tmp_path / 'goal', '0'],
        cwd=ROOT,
        capture_output=True,
        check=True,
        encoding='utf-8',
    )
    assert done.stdout.splitlines() == ['é one', *(f'more {number}' for number in range(3000))]
    assert len(done.stderr.splitlines()) == 3001


@pytest.mark.parametrize('module', ['bidsreg', 'bidsreg.pair', 'bidsreg.benchmark', 'bidsreg.translation'])
def test_the_commands_do_it(module):
    words = f'set -o pipefail; "$0" -m {module} --help | head -1'
    done = subprocess.run(['bash', '-c', words, sys.executable], cwd=ROOT, capture_output=True, check=False, text=True)
    assert (done.returncode, done.stderr) == (0, '')
    assert os.linesep in done.stdout
