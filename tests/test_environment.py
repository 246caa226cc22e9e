"""What libraries read when they are loaded is set before, and what the user has set stays."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from bidsreg import environment
from bidsreg.environment import PASSIVE, THREAD_VARIABLES, for_threads, one_thread_each, wait_passively

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = tomllib.loads((ROOT / 'pyproject.toml').read_text(encoding='utf-8'))['project']['scripts']
CLEAN = {name: value for name, value in os.environ.items() if name not in (*PASSIVE, *THREAD_VARIABLES)}


def test_what_the_user_has_set_stays():
    told = {'OMP_WAIT_POLICY': 'active', 'HOME': '/home'}
    wait_passively(told)
    assert told == {**PASSIVE, 'OMP_WAIT_POLICY': 'active', 'HOME': '/home'}


@pytest.mark.parametrize('module', ['bidsreg', 'bidsreg.pair', 'bidsreg.benchmark', 'bidsreg.translation'])
def test_commands_start_anew_where_the_locale_has_ascii(module):
    """Once, whatever the user has set, and as they were started."""
    environ = {**os.environ, 'PYTHONUTF8': '0', 'PYTHONCOERCECLOCALE': '0', 'LC_ALL': 'C'}
    words = [sys.executable, '-W', 'ignore', '-m', module, '--nö']
    done = subprocess.run(words, env=environ, check=False, capture_output=True, cwd=ROOT)
    assert done.returncode == 2
    assert done.stderr.decode('utf-8').count('error: ') == 1


def test_one_thread_where_the_user_says_nothing(monkeypatch):
    monkeypatch.setattr(environment.os, 'environ', told := {'MKL_NUM_THREADS': '6'})
    one_thread_each(['OMP_NUM_THREADS', 'MKL_NUM_THREADS'])
    assert told == {'OMP_NUM_THREADS': '1', 'MKL_NUM_THREADS': '6'}


def test_a_program_is_told_its_threads(monkeypatch):
    monkeypatch.setattr(environment.os, 'environ', here := {'HOME': '/home', 'KMP_BLOCKTIME': '7'})
    assert for_threads(3) == {**PASSIVE, **dict.fromkeys(THREAD_VARIABLES, '3'), 'HOME': '/home', 'KMP_BLOCKTIME': '7'}
    assert here == {'HOME': '/home', 'KMP_BLOCKTIME': '7'}


WATCH = """
import importlib, json, os, sys

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name in ('numpy', 'scipy', 'torch', 'numba', 'ants'):
            print('at', name, json.dumps(dict(os.environ)))

sys.meta_path.insert(0, Watch())
module, _, function = sys.argv[1].partition(':')
sys.argv[1:] = ['--help']
try:
    getattr(importlib.import_module(module), function)()
finally:  # a command that loads none to tell of itself
    print('at end', json.dumps(dict(os.environ)))
"""


@pytest.mark.parametrize('command', SCRIPTS)
def test_commands_set_it_before_a_library_is_loaded(command):
    words = [sys.executable, '-c', WATCH, SCRIPTS[command]]
    environ = {**CLEAN, 'GOMP_SPINCOUNT': '9'}
    said = subprocess.run(words, env=environ, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    seen = [json.loads(text) for text in re.findall(r'^at \w+ (.*)$', said, re.MULTILINE)]
    assert seen
    for found in seen:
        assert {name: found.get(name) for name in PASSIVE} == {**PASSIVE, 'GOMP_SPINCOUNT': '9'}
        assert found['OPENBLAS_NUM_THREADS'] == '1'


GARBAGE = """
import gc
from bidsreg.environment import collect_again, put_off_collecting

collections = []
gc.callbacks.append(lambda phase, info: collections.append(phase))
put_off_collecting()
here = [[] for _ in range(100_000)]
assert not collections
collect_again()
assert gc.isenabled() and gc.get_freeze_count() > 100_000
frozen = gc.get_freeze_count()
collect_again()  # a second time, or where it was never put off, nothing is frozen
assert gc.get_freeze_count() == frozen
here = [[] for _ in range(100_000)]
assert collections
"""


def test_what_is_loaded_is_no_garbage():
    subprocess.run([sys.executable, '-c', GARBAGE], check=True, cwd=ROOT)


def test_the_image_has_it():
    said = (ROOT / 'Dockerfile').read_text(encoding='utf-8')
    for name, value in PASSIVE.items():
        assert re.search(rf'^(ENV|   ) {name}={value}\b', said, re.MULTILINE), name
