"""The registry of tasks: what each says of its pairs."""

from __future__ import annotations

from bidsreg.benchmark.tasks import TASKS
from bidsreg.bids.names import T2W_TO_T1W, Contrasts


def test_pairs_are_drawn_between_people_only():
    assert [name for name, task in TASKS.items() if task.between_people] == ['inter']


def test_titles_say_the_contrasts():
    assert T2W_TO_T1W.fill(TASKS['inter'].title) == 'T1w to T2w, two people'
    assert Contrasts('T2w', 'FLAIR').fill(TASKS['intra'].title) == 'T2w to FLAIR, one head'


def test_every_task_has_a_title_of_its_own():
    assert len({task.title for task in TASKS.values()}) == len(TASKS)
