"""What every command has around its work."""

from __future__ import annotations

import os

import pytest

from bidsreg.errors import InputError
from bidsreg.execution.command import exit_code, silence_network
from bidsreg.execution.signals import Interrupted


def test_network_look_ups_are_off(monkeypatch):
    for name in ('NIPYPE_NO_ET', 'NO_ET', 'LOGNAME'):
        monkeypatch.delenv(name, raising=False)
    silence_network()
    assert os.environ['NIPYPE_NO_ET'] == os.environ['NO_ET'] == '1'
    assert os.environ['LOGNAME']


def refuse() -> int:
    raise InputError('no such file')


def interrupt() -> int:
    raise Interrupted(15)


def ctrl_c() -> int:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ('work', 'code', 'said'),
    [
        (lambda: 0, 0, ''),
        (lambda: 1, 1, ''),
        (refuse, 2, 'some-program: error: no such file\n'),
        (interrupt, 143, 'some-program: interrupted\n'),
        (ctrl_c, 130, 'some-program: interrupted\n'),
    ],
)
def test_every_end_has_its_exit_code(work, code, said, capsys):
    assert exit_code('some-program', work) == code
    assert capsys.readouterr().err == said
