"""Asking the programs of a batch system: their own last words, and patience with troubles that pass."""

from __future__ import annotations

import pytest

from bidsreg.execution.batch import programs
from bidsreg.execution.batch.programs import BatchSystemError, ask


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(programs, 'RETRY_SECONDS', 0.0)


def test_what_it_wrote():
    assert ask(['sh', '-c', 'echo 7; echo noise >&2']) == '7\n'


@pytest.mark.parametrize(
    ('script', 'said'),
    [
        ('echo one; echo "qsub: no such queue" >&2; exit 1', 'qsub: no such queue'),
        (
            'echo "Unable to run job: no suitable queues.\nExiting." >&2; exit 1',
            'Unable to run job: no suitable queues.',
        ),
        ('exit 3', 'exit code 3'),
    ],
)
def test_its_last_words_are_the_message(script, said):
    with pytest.raises(BatchSystemError) as caught:
        ask(['sh', '-c', script])
    assert str(caught.value) == said


def test_a_program_that_is_not_there():
    with pytest.raises(BatchSystemError, match='no-such-sbatch'):
        ask(['no-such-sbatch'])


@pytest.mark.parametrize(('said', 'tries'), [('Socket timed out', 3), ('invalid partition', 1)])
def test_only_what_passes_is_tried_again(tmp_path, said, tries):
    count = tmp_path / 'count'
    with pytest.raises(BatchSystemError, match=said):
        ask(['sh', '-c', f'echo x >> "{count}"; echo {said} >&2; exit 1'], 3)
    assert len(count.read_text().split()) == tries
