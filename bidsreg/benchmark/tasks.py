"""What a benchmark compares methods at: a registry of tasks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """One kind of pairs.

    Attributes
    ----------
    title : str
        Of its table, with the places of :meth:`bidsreg.bids.names.Contrasts.fill`.
    between_people : bool
        Its presets take their form for two people, and its pairs are drawn: there are as many as the subjects squared.
    is_rescan : bool
        Its pairs are two sessions of one person, judged by how well maps between them agree.
    """

    title: str
    between_people: bool = False
    is_rescan: bool = False


TASKS = {
    'inter': Task('{fixed} to {moving}, two people', between_people=True),
    'intra': Task('{fixed} to {moving}, one head'),
    'rescan': Task('{fixed} and {moving} of two sessions, maps that should agree', is_rescan=True),
}
