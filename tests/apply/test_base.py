"""What is asked of every kind of file, whoever adds one."""

from pathlib import Path

import pytest

from bidsreg.apply.base import Errand, FileKind, Options, Route
from bidsreg.apply.kinds import KINDS
from bidsreg.errors import InputError


@pytest.mark.parametrize('kind', KINDS.values(), ids=list(KINDS))
def test_a_result_is_of_the_kind_of_its_source(kind):
    for ending in kind.endings:
        made = kind.ending_of(Path(f'some.thing{ending}'))
        assert made in kind.endings


@pytest.mark.parametrize('kind', KINDS.values(), ids=list(KINDS))
def test_a_name_that_the_result_cannot_have_is_refused_before_any_work(kind, tmp_path):
    source = tmp_path / f'x{kind.endings[0]}'
    with pytest.raises(InputError):
        kind.check(Errand(source, tmp_path / 'x.doc', Route((), ()), source), Options())


def test_a_kind_says_what_it_checks_and_how_it_is_carried():
    class Half(FileKind):
        name, endings = 'half', ('.x',)

    with pytest.raises(TypeError, match='abstract'):
        Half()
