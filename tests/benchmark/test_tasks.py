"""The registry of tasks: what each says of its pairs."""

from __future__ import annotations

from bidsreg.benchmark.tasks import TASKS


def test_pairs_are_drawn_between_people_only():
    assert [name for name, task in TASKS.items() if task.between_people] == ['inter']


def test_every_task_has_a_title_of_its_own():
    assert len({task.title for task in TASKS.values()}) == len(TASKS)
