"""The node that collects seconds, and the reading of inputs that are set."""

from bidsreg.interfaces.base import Timing, given


def test_timing_collects_what_there_is():
    timing = Timing(['one', 'two', 'three'])
    timing.inputs.one, timing.inputs.two = 1.5, {'a': 2.0}
    assert timing.run().outputs.seconds == {'one': 1.5, 'two': {'a': 2.0}}


def test_only_what_is_set_is_given():
    timing = Timing(['one', 'two'])
    timing.inputs.one = 0.0
    assert given(timing.inputs, ('one', 'two')) == {'one': 0.0}
