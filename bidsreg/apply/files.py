"""Transforms that are named one by one: whether they can belong together, by what their names say."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from bidsreg.apply.base import Route
from bidsreg.apply.chain import Leg
from bidsreg.apply.naming import BidsName, same_label
from bidsreg.errors import InputError


def route_through(transforms: Sequence[Path], source: Path, *, inverse: bool = False) -> Route:
    """Return the way through transforms, the first of which is next to the reference, as with ``antsApplyTransforms``.

    Parameters
    ----------
    transforms
        The files.
    source
        What is to go it.
    inverse
        The way back, from the reference of all of them to where they lead from.

    Raises
    ------
    InputError
        If their names say that they are of several persons, in no such order, or of another space than the file.
    """
    names = [BidsName.of(path) for path in transforms]
    _check_persons([*transforms, source])
    _check_order(transforms, names)
    ahead = tuple(Leg(path) for path in transforms)
    back = tuple(Leg(leg.path, inverted=True) for leg in reversed(ahead))
    origin, target = _end(names[-1], 'from'), _end(names[0], 'to')
    if inverse:
        ahead, back, origin, target = back, ahead, target, origin
    name = BidsName.of(source)
    # a suffix names a space only where it is one of these
    said = name.entities.get('space') or (name.suffix if name.suffix == target else origin) if name else origin
    if origin and said != origin:
        raise InputError(f'{source}: is in the space {said}, and the transforms lead from {origin} to {target}.')
    return Route(ahead, back, origin, target)


def _end(name: BidsName | None, which: str) -> str:
    return name.entities.get(which, '') if name is not None else ''


def _check_persons(paths: Sequence[Path]) -> None:
    """Raise where two names are of different persons."""
    labelled = [
        (path, name.entities['sub']) for path in paths if (name := BidsName.of(path)) and 'sub' in name.entities
    ]
    for path, label in labelled[1:]:
        if not same_label(label, labelled[0][1]):
            raise InputError(f'{path} is of sub-{label}, and {labelled[0][0]} of sub-{labelled[0][1]}.')


def _check_order(transforms: Sequence[Path], names: Sequence[BidsName | None]) -> None:
    """Raise where a transform does not lead to where the one before it, which data reach later, begins."""
    for k, (later, earlier) in enumerate(pairwise(names)):
        start, end = _end(later, 'from'), _end(earlier, 'to')
        if start and end and start != end:
            turned = all(_end(one, 'to') == _end(other, 'from') for one, other in pairwise(names))
            advice = (
                f'Turn them round: --transform {" ".join(str(path) for path in reversed(transforms))}'
                if turned
                else 'They make no chain'
            )
            raise InputError(
                f'{transforms[k + 1]} leads to {end}, and {transforms[k]} from {start}. The last one named is the '
                f'first that data go through, as with antsApplyTransforms. {advice}.'
            )
