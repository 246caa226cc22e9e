"""Which T1w a scan is registered to: the rules, in their order, and the words for the one that decided."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bidsreg.bids.headers import check_header
from bidsreg.bids.names import ENTITIES, NUMBERS
from bidsreg.bids.scans import Scan

#: Entities of whose values a T1w and another scan of one kind agree: all but who, when and which part.
COMPARED = tuple(key for key in ENTITIES if key not in ('subject', 'session', 'part'))
#: Entities whose absence is a value of its own: no contrast agent is unlike any contrast agent.
ABSENCE_COUNTS = ('ceagent',)
#: Entities that say which part of the body an image shows: other parts cannot be registered to each other.
PLACES = ('chunk', 'sample')
#: Words in a label that name images which plan other scans.
PLANNING = re.compile(r'localizer|localiser|scout|survey', re.IGNORECASE)
#: How labels name the images of the single inversions of an MP2RAGE, which show other contrasts than its UNI.
INVERSION = re.compile(r'inv[12](?!\d)', re.IGNORECASE)

#: A word in a label of several: capitals, letters or digits in a row.
WORD = re.compile(r'[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+')


@dataclass(frozen=True)
class Candidate:
    """A T1w that might be chosen for a scan of another contrast.

    Attributes
    ----------
    scan, moving
        The T1w and that scan.
    """

    scan: Scan
    moving: Scan

    def same(self, keys: Sequence[str]) -> list[str]:
        """Return those of the entities in which both have one value."""
        return [key for key in keys if self._value(key) is not None and self._value(key) == self._value(key, True)]

    def other(self, keys: Sequence[str]) -> list[str]:
        """Return those of the entities in which the two contradict each other."""
        return [key for key in keys if self._contradict(key)]

    def lonely(self) -> int:
        """Return how many entities the one has and the other lacks."""
        return sum((self._value(key) is None) != (self._value(key, True) is None) for key in COMPARED)

    def _value(self, key: str, moving: bool = False) -> Any:
        value = (self.moving if moving else self.scan).entities.get(key)
        return int(value) if value is not None and key in NUMBERS and value.isdigit() else value

    def _contradict(self, key: str) -> bool:
        one, other = self._value(key), self._value(key, True)
        known = one is not None and other is not None
        return one != other and (known or key in ABSENCE_COUNTS)


def _slab(candidate: Candidate) -> float:
    return check_header(candidate.scan.path).is_slab


def _thick(candidate: Candidate) -> float:
    return check_header(candidate.scan.path).has_thick_slices


def _contrast_agent(candidate: Candidate) -> float:
    return 'ceagent' in candidate.scan.entities


def _planning(candidate: Candidate) -> float:
    return any(PLANNING.search(value) for value in candidate.scan.entities.values())


def _inversion(candidate: Candidate) -> float:
    return any(INVERSION.search(value) for value in candidate.scan.entities.values())


def _unlike(candidate: Candidate) -> float:
    return -len(_words(candidate.scan) & _words(candidate.moving))


def _words(scan: Scan) -> set[str]:
    """Return the words that the labels of a scan are made of: of ``mpragePMCon`` ``mprage``, ``PM`` and ``Con``."""
    labels = [scan.entities[key] for key in COMPARED if key in scan.entities and key not in NUMBERS]
    return {word for label in labels for word in WORD.findall(label) if len(word) > 1}


@dataclass(frozen=True)
class Rule:
    """A rule that may decide between candidates.

    Attributes
    ----------
    badness
        The candidates with the lowest value stay.
    why
        Words for one that stays and one that does not.
    """

    badness: Callable[[Candidate], float]
    why: Callable[[Candidate, Candidate], str]

    @classmethod
    def says(cls, badness: Callable[[Candidate], float], words: str) -> Rule:
        """Make a rule whose words name the candidate that does not stay as ``{other}``, and the moving contrast."""
        return cls(
            badness,
            lambda chosen, other: words.format(other=other.scan.path.name, moving=other.moving.contrast),
        )

    @classmethod
    def lowest(cls, key: str, words: str) -> Rule:
        """Make the rule that an entity has the lowest number; a scan without it comes first, in words of its own."""

        def why(chosen: Candidate, other: Candidate) -> str:
            return words if key in chosen.scan.entities else f'it has no {key}, unlike {other.scan.path.name}'

        return cls(lambda candidate: float(candidate.scan.entities.get(key, 0)), why)

    @classmethod
    def agreement(cls, keys: Sequence[str]) -> Rule:
        """Make the rule that these entities agree as often as they can, and contradict each other as seldom."""

        def why(chosen: Candidate, other: Candidate) -> str:
            same, unlike = chosen.same(keys), other.other(keys)
            if same:
                return f'agrees best in {", ".join(ENTITIES[key] for key in same)}'
            return f'{other.scan.path.name} differs in {", ".join(ENTITIES[key] for key in unlike)}'

        return cls(lambda candidate: len(candidate.other(keys)) - len(candidate.same(keys)), why)


#: The rules, the weightiest first; the name decides what they leave open.
RULES = (
    Rule.agreement([key for key in COMPARED if key != 'run']),
    Rule.agreement(['run']),
    Rule.says(_slab, 'a whole head, where {other} is a slab'),
    Rule.says(_thick, 'a 3-D image, where {other} has thick slices'),
    Rule.says(_contrast_agent, 'without contrast agent, unlike {other}'),
    Rule.says(_planning, 'no localizer, unlike {other}'),
    Rule.says(_inversion, 'no single inversion, unlike {other}'),
    Rule.says(Candidate.lonely, 'named most like the {moving}'),
    Rule.says(_unlike, 'with more words of the {moving} in its labels'),
    Rule.lowest('echo', 'the first echo'),
    Rule.lowest('run', 'the lowest run among those that fit equally well'),
)


def choose(moving: Scan, candidates: Sequence[Scan]) -> tuple[Scan, str]:
    """Choose the T1w for a scan of another contrast.

    Parameters
    ----------
    moving
        That scan.
    candidates
        The T1w scans that it may be registered to, at least two.

    Returns
    -------
    scan, reason
        The T1w, and words for the rules that decided.
    """
    waiting = [Candidate(scan, moving) for scan in sorted(candidates, key=lambda scan: scan.path.name)]
    reasons = []
    for rule in RULES:
        badness = [rule.badness(candidate) for candidate in waiting]
        best = [candidate for candidate, value in zip(waiting, badness, strict=True) if value == min(badness)]
        if len(best) < len(waiting):
            reasons.append(rule.why(best[0], next(one for one in waiting if one not in best)))
            waiting = best
        if len(waiting) == 1:
            return waiting[0].scan, ', then '.join(reasons)
    return waiting[0].scan, ', then '.join([*reasons, 'the first by name among those that fit equally well'])


def same_place(moving: Scan, candidates: Sequence[Scan]) -> list[Scan]:
    """Return the T1w scans that do not show another part of the body than the moving one (:data:`PLACES`)."""
    return [scan for scan in candidates if not Candidate(scan, moving).other(PLACES)]
