"""The values of a QC file: found by their paths, which the contrasts of its pair are a part of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bidsreg.bids.names import T2W_TO_T1W, Contrasts

Facts = Mapping[str, Any]
"""The content of a QC file."""


@dataclass(frozen=True)
class At:
    """A reader of the value at a dotted path of the QC file, as the pair of a T1w and a T2w has it."""

    path: str

    def path_of(self, contrasts: Contrasts) -> str:
        """Return the path in the QC file of a pair of these contrasts, which stand in the places of T1w and T2w."""
        spelled = {'t1w': contrasts.fixed.lower(), 't2w': contrasts.moving.lower()}
        return re.sub('t1w|t2w', lambda found: spelled[found[0]], self.path)

    def __call__(self, facts: Facts) -> Any:
        """Return the value; None where there is none."""
        return value_at(facts, self.path_of(contrasts_of(facts)))


def value_at(facts: Facts, path: str) -> Any:
    """Return the value at a dotted path of a QC file; None where there is none."""
    inner: Any = facts
    for key in path.split('.'):
        inner = inner.get(key) if isinstance(inner, Mapping) else None
    return inner


def contrasts_of(facts: Facts) -> Contrasts:
    """Return the contrasts of the pair of a QC file, which says them unless they are T1w and T2w."""
    said = facts.get('contrasts')
    return Contrasts(str(said.get('fixed')), str(said.get('moving'))) if isinstance(said, Mapping) else T2W_TO_T1W
