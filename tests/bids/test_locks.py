"""Runs that share a folder keep off each other."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

from bidsreg.bids.locks import lock_pair
from bidsreg.registration.atomic import hidden_name

_HOLD = """
import sys, time
from bidsreg.bids.locks import lock_pair
from bidsreg.bids.pairs import find_pairs
from bidsreg.settings import Settings, read_toml
settings = Settings(**read_toml(sys.argv[1]))
locks = [lock_pair(pair, settings) for pair in find_pairs(settings).pairs]
print(sum(lock is not None for lock in locks), flush=True)
time.sleep(60)
"""


def test_locks_between_processes_end_with_the_process(pairs, settings, tmp_path):
    settings.to_toml(tmp_path / 's.toml')
    mine = lock_pair(pairs['sub-01'], settings)
    assert mine is not None
    other = subprocess.Popen([sys.executable, '-c', _HOLD, str(tmp_path / 's.toml')], stdout=subprocess.PIPE, text=True)
    try:
        assert int(other.stdout.readline()) == len(pairs) - 1
        assert lock_pair(pairs['sub-02_ses-1'], settings) is None
        half = hidden_name(settings.output_dir / '.bidsreg' / 'tmp' / 'sub-02_ses-1')
        half.mkdir(parents=True)
    finally:
        other.kill()  # SIGKILL: nothing is tidied up
        other.wait()
    with lock_pair(pairs['sub-02_ses-1'], settings) as lock:
        assert lock is not None
        assert not half.exists()
    mine.release()


def test_same_work_folder_for_two_outputs_is_locked_too(pairs, settings, tmp_path):
    elsewhere = replace(settings, output_dir=tmp_path / 'other')
    elsewhere.to_toml(tmp_path / 's.toml')
    with lock_pair(pairs['sub-01'], settings):
        other = subprocess.Popen(
            [sys.executable, '-c', _HOLD, str(tmp_path / 's.toml')], stdout=subprocess.PIPE, text=True
        )
        try:
            assert int(other.stdout.readline()) == len(pairs) - 1
        finally:
            other.kill()
            other.wait()
