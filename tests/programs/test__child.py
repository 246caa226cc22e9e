"""The process in which a library works hands its words on."""

import pytest

from bidsreg.programs import PROGRAMS, ProgramError, _child
from tests.fake_program import Pretended


class Listening(Pretended):
    def child(self, words):
        self.heard = words
        return 5


def test_words_go_to_the_program_of_that_name(monkeypatch):
    program = Listening()
    monkeypatch.setitem(PROGRAMS, 'listening', program)
    assert _child.main(['bidsreg.programs.registry', 'listening', 'a', '-b']) == 5
    assert program.heard == ['a', '-b']


def test_a_module_that_registers_nothing_of_that_name_is_named():
    with pytest.raises(ProgramError, match=r'tests\.data puts no program called mine'):
        _child.main(['tests.data', 'mine'])
