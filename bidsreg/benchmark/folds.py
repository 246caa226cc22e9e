"""Which heads a translation is trained on: none that it is judged on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bidsreg.benchmark.case import ENDS, Case
from bidsreg.errors import InputError

#: Groups into which heads are dealt unless told otherwise.
FOLDS = 4

LeftOut = tuple[int, ...]
"""The groups whose heads a training does not see."""


@dataclass(frozen=True)
class Folds:
    """The heads of all drawn pairs, dealt into groups.

    A pair is translated by a model that was trained on none of the one or two groups that its heads are in.

    Attributes
    ----------
    groups : mapping
        The group of each head.
    """

    groups: Mapping[str, int]

    def left_out(self, case: Case) -> LeftOut:
        """Return the groups that the model of a pair must not see."""
        return tuple(sorted({self.groups[head] for head in case.heads.values()}))

    def scans(self, cases: Iterable[Case], left_out: LeftOut) -> list[tuple[Case, str]]:
        """List what a model is trained on: pairs with the end, ``fixed`` or ``moving``, each file once."""
        found = {
            (end, getattr(case, end)): (case, end)
            for case in cases
            for end in ENDS
            if self.groups[case.heads[end]] not in left_out
        }
        return list(found.values())

    def needed(self, cases: Iterable[Case]) -> list[LeftOut]:
        """List the models that pairs need, by what they do not see."""
        return sorted({self.left_out(case) for case in cases})


def deal(cases: Sequence[Case], count: int, seed: int) -> Folds:
    """Deal the heads of pairs into groups, with a seed."""
    heads = sorted({head for case in cases for head in case.heads.values()})
    order = np.random.default_rng(seed).permutation(len(heads))
    return Folds({heads[place]: number % count for number, place in enumerate(order)})


def check_folds(folds: Folds, cases: Sequence[Case]) -> None:
    """Raise :class:`InputError` unless every model has scans of both contrasts, of two heads or more."""
    for left_out in folds.needed(cases):
        scans = folds.scans(cases, left_out)
        heads = {case.heads[end] for case, end in scans}
        if {end for _, end in scans} != set(ENDS) or len(heads) < 2:
            pair = next(case.name for case in cases if folds.left_out(case) == left_out)
            raise InputError(
                f'{pair}: too few heads are left to train a translation on, none of which it is judged on '
                f'({len(heads)} of {len(folds.groups)}): draw more pairs, deal the heads into more groups (--folds), '
                'or leave the translations out.'
            )


def describe(folds: Folds, cases: Sequence[Case]) -> str:
    """Say how the models were trained, for the table."""
    needed = folds.needed(cases)
    counts = [len({case.heads[end] for case, end in folds.scans(cases, left_out)}) for left_out in needed]
    told = f'{min(counts)} to {max(counts)}' if min(counts) < max(counts) else str(counts[0])
    groups = len(set(folds.groups.values()))
    return (
        f'{len(needed)} model{"s" if len(needed) > 1 else ""} of each translation, on {told} heads: '
        f'{len(folds.groups)} heads in {groups} groups, and a model is trained on no group of a pair that it translates'
    )
