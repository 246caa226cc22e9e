"""What the scripts share: programs are measured by themselves, and their failures told."""

from __future__ import annotations

import sys

import common
import numpy as np
import pytest

from bidsreg.pair.cli import build_parser
from bidsreg.registration.grid import Grid
from bidsreg.registration.image import Image


def python(code):
    return [sys.executable, '-S', '-c', code]


def test_memory_and_seconds_are_the_childs_alone(tmp_path):
    here = np.ones(60_000_000)  # 480 MB that a child must not answer for
    code = 'import time; x = bytearray(150_000_000); time.sleep(0.3)'
    used = common.run_measured(python(code), tmp_path, threads=1)
    assert here[0] == 1
    assert 150 < used.peak_mb < 250
    assert 0.3 < used.seconds < 10
    assert used.cpu_seconds < used.seconds


def test_a_program_is_told_how_many_threads_to_use(tmp_path):
    common.run_measured(python('import os; print(os.environ["OMP_NUM_THREADS"], os.getcwd())'), tmp_path, threads=3)
    assert (tmp_path / 'log.txt').read_text().split() == ['3', str(tmp_path)]


def test_a_failing_command_says_why(tmp_path):
    with pytest.raises(RuntimeError, match=r'ended with 3: .*no such brain'):
        common.run_measured(python('import sys; print("no such brain"); sys.exit(3)'), tmp_path, threads=1)


def test_a_launcher_that_is_stopped_is_a_failure(tmp_path):
    code = 'import os, signal; os.kill(os.getppid(), signal.SIGTERM)'
    with pytest.raises(RuntimeError, match='stopped from outside'):
        common.run_measured(python(code), tmp_path, threads=1)


CHILD = 'import time; x = bytearray(60_000_000); time.sleep(1)'


@pytest.mark.parametrize('memory', ['rss', 'uss'])
def test_memory_is_that_of_all_processes_together(tmp_path, memory):
    here = np.ones(60_000_000)
    code = f'import subprocess, sys; [p.wait() for p in [subprocess.Popen({python(CHILD)!r}) for _ in range(2)]]'
    code += '; print("done"); sys.exit(4)'
    ended, seconds, peak = common.run_watched(python(code), memory=memory, interval=0.02, log=tmp_path / 'log')
    assert here[0] == 1
    assert ended == 4
    assert seconds > 1
    assert 120 < peak < 200
    assert (tmp_path / 'log').read_text() == 'done\n'


def test_memory_between_two_looks_is_known_to_the_kernel():
    _, _, peak = common.run_watched(python('x = bytearray(150_000_000)'), memory='rss', interval=3)
    assert 150 < peak < 250


def test_words_of_bidsreg_pair_are_those_it_knows(tmp_path):
    words = common.pair_command(
        tmp_path / 'a', tmp_path / 'b', tmp_path / 'out', method='node-mind', threads=2, options=['--seed', 7]
    )
    assert words[:3] == [sys.executable, '-m', 'bidsreg.pair']
    args = build_parser().parse_args(words[3:])
    assert (args.method, args.keep, args.device, args.threads, args.seed) == ('node-mind', 'diffeo', 'cpu', 2, 7)


def test_words_after_two_dashes_are_passed_on():
    assert common.split_options(['a', '--b', '--', '--c', '--', 'd']) == (['a', '--b'], ['--c', '--', 'd'])
    assert common.split_options(['a']) == (['a'], [])


def test_a_brain_is_the_largest_piece_without_holes():
    values = np.zeros((12, 12, 12), np.float32)
    values[2:9, 2:9, 2:9] = 5
    values[5, 5, 5] = 0
    values[11, 11, 11] = 3
    mask = common.stripped_brain(Image(values, Grid(values.shape, np.eye(4)))).data
    assert mask.sum() == 7**3
    assert mask[5, 5, 5] == 1
    assert mask[11, 11, 11] == 0


def test_tables_in_markdown():
    assert common.head('a', 'b') == '| a | b |\n|---|---|'
    assert common.row('x', 1) == '| x | 1 |'
