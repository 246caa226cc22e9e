"""Events are frozen, plain, and each has a sentence where people read it."""

import dataclasses
import json

import pytest

from bidsreg.messages import describe
from bidsreg.programs import events as program_events
from bidsreg.registration import events

# all but the bases
KINDS = [
    kind
    for module in (events, program_events)
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, events.Event) and not kind.__subclasses__()
]


def made(kind):
    values = {'float': 1.5, 'int': 2, 'bool': True, 'str': 'words'}
    return kind(**{field.name: values[field.type] for field in dataclasses.fields(kind)})


@pytest.mark.parametrize('kind', KINDS)
def test_events_are_frozen_and_survive_json(kind):
    event = made(kind)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(event, dataclasses.fields(kind)[0].name, 3)
    values = json.loads(json.dumps(event.as_dict()))
    assert values.pop('event') == kind.__name__
    assert kind(**values) == event


@pytest.mark.parametrize('kind', KINDS)
def test_every_event_has_a_sentence(kind):
    text = describe(made(kind).as_dict())
    assert text
    assert '{' not in text
