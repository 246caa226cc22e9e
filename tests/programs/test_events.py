"""Events of programs say which program, and those that are no good news warn."""

import dataclasses

import pytest

from bidsreg.messages import describe
from bidsreg.programs.events import FieldFolds, InverseMissing, InverseSearched, ProgramEnded


@pytest.mark.parametrize(
    ('event', 'warns'),
    [
        (ProgramEnded('greedy'), False),
        (InverseSearched('greedy'), False),
        (InverseMissing('greedy', 7, 1.5), True),
        (FieldFolds('greedy', 3), True),
    ],
)
def test_an_event_names_its_program(event, warns):
    assert event.warning == warns
    assert event.as_dict() == {'event': type(event).__name__, **dataclasses.asdict(event)}
    assert describe(event.as_dict()).startswith('greedy')
