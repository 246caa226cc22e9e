"""A signal that asks to end becomes an exception, and nothing of it stays."""

from __future__ import annotations

import signal
import threading

import pytest

from bidsreg.execution.signals import Interrupted, signals_raise


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_an_exception_while_the_context_lasts(number):
    before = signal.getsignal(number)
    with pytest.raises(Interrupted) as caught, signals_raise():
        signal.raise_signal(number)
    assert caught.value.number == number
    assert str(caught.value) == number.name
    assert signal.getsignal(number) is before


def test_outside_the_main_thread_signals_are_left_alone():
    before, seen = signal.getsignal(signal.SIGTERM), []

    def work():
        with signals_raise():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
