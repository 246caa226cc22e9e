"""Programs that are started: what they get, what is heard of them, and how they end."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bidsreg.environment import PASSIVE, THREAD_VARIABLES
from bidsreg.programs import ProgramError, Workspace
from bidsreg.programs.process import run_program, run_python


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path, np.eye(4), False, threads=3)


def python(code):
    return [sys.executable, '-S', '-c', code]


def test_a_program_gets_its_threads_and_its_folder(workspace):
    names = [*THREAD_VARIABLES, *PASSIVE]
    run_program(
        python(f'import os; open("told.txt", "w").write(repr([os.environ.get(n) for n in {names}]))'), workspace
    )
    told = [os.environ.get(name, value) for name, value in PASSIVE.items()]
    assert (workspace.folder / 'told.txt').read_text() == repr(['3'] * len(THREAD_VARIABLES) + told)


def test_what_a_program_says_reaches_stderr_unless_quiet(workspace, capfd):
    run_program(python('print("level one")'), workspace)
    assert 'level one' in capfd.readouterr().err
    run_program(python('print("level one")'), dataclasses.replace(workspace, quiet=True))
    assert capfd.readouterr().err == ''


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (python('print("no such brain"); import sys; sys.exit(3)'), 'ended with 3: no such brain'),
        (python('import os; os.kill(os.getpid(), 9)'), 'signal 9, most often because memory ran out'),
        (['/nowhere/reg_f3d'], 'cannot be started: No such file'),
    ],
)
def test_a_program_that_fails_says_why(workspace, words, said):
    with pytest.raises(ProgramError, match=said):
        run_program(words, workspace)


OWN = """
from bidsreg.programs import PROGRAMS, Program, ProgramSettings

class Own(Program):
    name, settings = 'own', ProgramSettings()

    def run(self, workspace): ...

    def child(self, words):
        print('heard', *words)
        return 4

PROGRAMS['own'] = Own()
"""


def test_a_program_of_ones_own_has_a_python_process_too(workspace, tmp_path, monkeypatch):
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])]))
    (tmp_path / 'of_my_own.py').write_text(OWN)
    with pytest.raises(ProgramError, match='ended with 4: heard a b'):
        run_python('own', ['a', Path('b')], workspace, module='of_my_own')


def test_a_program_ends_with_the_process_that_started_it(tmp_path):
    """A node that is killed leaves no program behind that works on."""
    inner = f'import os, time; open({str(tmp_path / "pid")!r}, "w").write(str(os.getpid())); time.sleep(60)'
    code = f"""
import sys; from pathlib import Path; import numpy as np
from bidsreg.programs import Workspace, run_program
run_program([sys.executable, '-S', '-c', {inner!r}], Workspace(Path({str(tmp_path)!r}), np.eye(4), False))
"""
    outer = subprocess.Popen([sys.executable, '-c', code], cwd=Path(__file__).parents[2])
    until(lambda: (tmp_path / 'pid').exists() and (tmp_path / 'pid').read_text())
    pid = int((tmp_path / 'pid').read_text())
    assert alive(pid)
    outer.kill()
    outer.wait()
    until(lambda: not alive(pid))


def until(true, seconds=20):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def alive(pid):
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] not in 'ZX'
    except OSError:
        return False
