"""Children end with the process that holds the lifeline, however it ended."""

import os
import signal
import subprocess
import sys

import pytest

from bidsreg.execution import lifeline

#: A child that follows and sleeps; it says its number first.
FOLLOWER = """
import os, time
from bidsreg.execution import lifeline
lifeline.follow(0.05)
print(os.getpid(), flush=True)
time.sleep(60)
"""
#: A holder that starts one and waits.
HOLDER = f"""
import subprocess, sys
from bidsreg.execution import lifeline
lifeline.hold()
{{release}}
subprocess.run([sys.executable, '-c', {FOLLOWER!r}])
"""


def begin(release: str = '') -> tuple[subprocess.Popen, int]:
    holder = subprocess.Popen([sys.executable, '-c', HOLDER.format(release=release)], stdout=subprocess.PIPE, text=True)
    return holder, int(holder.stdout.readline())


def test_a_killed_holder_takes_its_children_along(wait_for_end):
    holder, child = begin()
    holder.kill()
    holder.wait()
    assert wait_for_end(child)


def test_what_was_released_lives_on(wait_for_end):
    holder, child = begin('lifeline.release()')
    try:
        holder.kill()
        holder.wait()
        assert not wait_for_end(child, seconds=1)
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_number_taken_again_is_another_process():
    process = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)
    alive = lifeline._identity(process.pid)
    assert alive == lifeline._identity(process.pid)
    assert alive.startswith(f'{process.pid}:')
    process.communicate(b'\n')
    assert lifeline._identity(process.pid) is None


@pytest.fixture
def wait_for_end():
    """Wait until a process is gone, or a zombie; whether it was so in time."""
    import time

    def wait(pid: int, seconds: float = 20) -> bool:
        end = time.monotonic() + seconds
        while lifeline._identity(pid) is not None:
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        return True

    return wait
