"""Which transforms bring a file to a space: found among derivatives by their entities, one after another if need be."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

from bidsreg.apply.base import Route
from bidsreg.apply.chain import Leg
from bidsreg.apply.kinds import INTENSITY_SUFFIXES
from bidsreg.apply.naming import BidsName, same_label
from bidsreg.apply.volumes import grid_of
from bidsreg.bids.images import SAME_GRID_MM
from bidsreg.bids.names import ENTITIES, sidecar
from bidsreg.bids.sidecars import read_json
from bidsreg.errors import InputError

#: How the names of transforms end.
ENDINGS = ('.h5', '.txt')
#: Entities that tell scans of a person apart.
_OF_SCANS = frozenset(ENTITIES.values()) - {'sub'}
#: What only a transform's own name has.
_OF_TRANSFORM = ('from', 'to', 'mode')


@dataclass(frozen=True)
class NamedTransform:
    """A transform among derivatives.

    Attributes
    ----------
    path : Path
        The file.
    name : BidsName
        What its name says.
    scans : mapping of str to mapping
        Entities of the scans that it was made from, by their suffixes, as its sidecar says.
    """

    path: Path
    name: BidsName
    scans: Mapping[str, Mapping[str, str]]

    @property
    def ends(self) -> tuple[str, str]:
        """The spaces that data go from and to."""
        return self.name.entities['from'], self.name.entities['to']

    @property
    def pair(self) -> tuple[tuple[str, str], ...]:
        """What it shares with its inverse alone."""
        return tuple(item for item in self.name.entities.items() if item[0] not in _OF_TRANSFORM)


@dataclass(frozen=True)
class Derivatives:
    """What datasets have for one person.

    Attributes
    ----------
    folders : tuple of Path
        The datasets.
    subject, session : str
        Labels; without a session all are looked through.
    """

    folders: tuple[Path, ...]
    subject: str
    session: str = ''

    @cached_property
    def transforms(self) -> list[NamedTransform]:
        """All transforms between images, in the order of their names.

        Raises
        ------
        InputError
            If there is none.
        """
        found = [one for path in self._files() for one in _transform(path)]
        if not found:
            where = ', '.join(map(str, self.folders))
            raise InputError(f'{where}: no transform of {self} (sub-*_from-*_to-*_mode-image_xfm.h5) is there.')
        return found

    def __str__(self) -> str:
        return f'sub-{self.subject}' + (f' ses-{self.session}' if self.session else '')

    def _files(self) -> Iterator[Path]:
        for folder in self.folders:
            if not folder.is_dir():
                raise InputError(f'{folder}: there is no such folder of derivatives.')
            yield from sorted(folder.glob(f'sub-{self.subject}/anat/*'))
            yield from sorted(folder.glob(f'sub-{self.subject}/ses-{self.session or "*"}/anat/*'))

    def scan(self, space: str, entities: Mapping[str, str]) -> Path | None:
        """Return the image whose grid stands for a space, None where there is none, or several have different ones.

        Parameters
        ----------
        space
            The space: its ``desc-preproc`` scan, or one that lies in it.
        entities
            Those of the scan, as far as they are known.
        """
        best = self._images_in(space, entities)
        return best[0] if len(best) == 1 else None

    def _images_in(self, space: str, entities: Mapping[str, str]) -> list[Path]:
        """Return the scans of a space; where there are none, of what lies in it one image for each grid."""
        own, others = [], []
        for path in self._files():
            name = BidsName.of(path)
            if name is None or not path.name.endswith(('.nii.gz', '.nii')) or name.entities.get('desc') != 'preproc':
                continue
            if _conflict(name.entities, entities):
                continue
            if 'space' not in name.entities and name.suffix == space:
                own.append(path)
            elif 'space' in name.entities and name.space == space:
                others.append(path)
        one_each: list[Path] = []
        for path in [] if own else sorted(others):  # of several that lie on one grid any has it
            if not any(_same_grid(path, known) for known in one_each):
                one_each.append(path)
        return sorted(own) or one_each

    def _is_template(self, space: str) -> bool:
        """Tell whether images lie in a space that is that of none of the person's scans."""
        names = [
            name for path in self._files() if path.name.endswith(('.nii.gz', '.nii')) and (name := BidsName.of(path))
        ]
        own = any('space' not in name.entities and name.suffix == space for name in names)
        return not own and any('space' in name.entities and name.space == space for name in names)

    def session_of(self, source: Path) -> str:
        """Return the session that a file is of: the one asked for, or else that of its name; it may be empty.

        Raises
        ------
        InputError
            If its name says that it is of another person, or of another session than the one asked for.
        """
        name = BidsName.of(source)
        entities = name.entities if name else {}
        for key, wanted in (('sub', self.subject), ('ses', self.session)):
            if wanted and not same_label(entities.get(key, wanted), wanted):
                raise InputError(f'{source}: is of {key}-{entities[key]}, and the transforms of {key}-{wanted}.')
        return self.session or entities.get('ses', '')

    def origin_of(self, source: Path, target: str, asked: str | None = None) -> str:
        """Return the space that a file is in: what its name says, or else whose grid it has.

        Parameters
        ----------
        source
            The file.
        target
            Where it is to go.
        asked
            What the user says.

        Raises
        ------
        InputError
            If there is no telling, or its name contradicts the user.
        """
        spaces = {end for one in self.transforms for end in one.ends}
        name = BidsName.of(source)
        if name is not None and (name.space in spaces or {'space', 'tpl'} & name.entities.keys()):
            if asked and asked != name.space:
                raise InputError(f'{source}: is in the space {name.space} by its name, not in {asked} (--from).')
            return name.space
        if asked:
            return asked
        known = name.entities if name is not None else {}
        session = {'ses': known['ses']} if 'ses' in known else {}
        same = [space for space in sorted(spaces) if _same_grid(source, self.scan(space, session))]
        if len(same) == 1:
            return same[0]
        why = f'its grid is that of {" and ".join(same)}' if same else 'no scan has its grid'
        among = ', '.join(sorted(spaces - {target}))
        if name is not None and name.suffix in INTENSITY_SUFFIXES:
            raise InputError(
                f'{source}: is a {name.suffix} by its name, no transform of {self} leads from a {name.suffix}, '
                f'and {why}. Register it first, or, where it lies with another scan, say --from with one of {among}.'
            )
        raise InputError(
            f'{source}: its name does not say in which space it is, and {why}. Say --from with one of {among}.'
        )

    def route(self, source: Path, origin: str, target: str) -> Route:
        """Return the way of a file from one space to another, the shortest, through a template only where it must.

        Parameters
        ----------
        source
            The file, whose entities choose among several pairs.
        origin, target
            The spaces.

        Raises
        ------
        InputError
            If there is none, or several are as short.
        """
        if origin == target:
            raise InputError(f'{source}: is in the space {target} already.')
        ways = list(_shortest({one.ends for one in self.transforms}, origin, target))
        if not ways:
            known = ', '.join(f'{one.path.name}' for one in self.transforms)
            raise InputError(f'{source}: no transform of {self} leads from {origin} to {target}. There are: {known}.')
        # through a template the registrations of the scans to it come in, which each other's scans do not need
        ways = [way for way in ways if not any(map(self._is_template, way[1:-1]))] or ways
        if len(ways) > 1:
            told = '; '.join(' -> '.join(way) for way in ways)
            raise InputError(f'{source}: several ways lead to {target} ({told}): go one of them in two steps.')
        name = BidsName.of(source)
        steps, scan = [], name.entities if name else {}
        for start, end in pairwise(ways[0]):
            steps.append(self._step(start, end, scan, source))
            scan = _scan_of(steps[-1], end)
        return Route(
            tuple(_leg(there, back) for there, back in reversed(steps)),
            tuple(_leg(back, there) for there, back in steps),
            origin,
            target,
            self.scan(origin, _scan_of(steps[0], origin)),
            _other_scan(name, origin, steps[0]),
        )

    def session_in(self, route: Route) -> str:
        """Return the session that the transforms of a way are of; it may be empty."""
        paths = {leg.path for leg in (*route.images, *route.points)}
        sessions = {one.name.entities.get('ses', '') for one in self.transforms if one.path in paths} - {''}
        return sessions.pop() if len(sessions) == 1 else ''

    def reference(self, route: Route) -> Path:
        """Return the image on whose grid a space's images are.

        Raises
        ------
        InputError
            If there is none, or several.
        """
        last = next(one for one in self.transforms if one.path == route.images[0].path)
        found = self._images_in(route.target, _scan(last, route.target))
        if not found:
            raise InputError(
                f'No image of {self} (desc-preproc) lies in {route.target}: name one on the grid that is wanted with '
                '--reference.'
            )
        if len(found) > 1:
            raise InputError(
                f'Several images of {self} may stand for the grid of {route.target}: name one with --reference, '
                f'{" or ".join(map(str, found))}.'
            )
        return found[0]

    def _step(
        self, origin: str, target: str, asked: Mapping[str, str], source: Path
    ) -> tuple[NamedTransform | None, NamedTransform | None]:
        """Return the transforms from one space to the next, and back; one of them may be missing."""
        pairs: dict[tuple, dict[tuple[str, str], NamedTransform]] = defaultdict(dict)
        for one in self.transforms:
            if set(one.ends) == {origin, target} and not _conflict(_scan(one, origin), asked):
                pairs[one.pair][one.ends] = one
        # those who share most with the file
        shared = {
            pair: max(_shared(_scan(one, origin), asked) for one in ends.values()) for pair, ends in pairs.items()
        }
        best = [pair for pair in pairs if shared[pair] == max(shared.values())]
        if len(best) != 1:
            found = ', '.join(one.path.name for pair in best for one in pairs[pair].values())
            what = (
                f'several transforms lead from {origin} to {target} ({found})'
                if best
                else (f'no transform between {origin} and {target} is of the scan that its name speaks of')
            )
            raise InputError(f'{source}: {what}. {self._how_to_choose(pairs[pair] for pair in best)}')
        ends = pairs[best[0]]
        return ends.get((origin, target)), ends.get((target, origin))

    def _how_to_choose(self, pairs: Iterable[Mapping[tuple[str, str], NamedTransform]]) -> str:
        """Say what tells the pairs of a session, or those of several sessions, apart."""
        sessions = {one.name.entities.get('ses') for ends in pairs for one in ends.values()}
        if len(sessions) > 1:
            return 'Choose with --session-label, or name one with --transform.'
        return 'Name all that the file is to go through with --transform.'


def _transform(path: Path) -> list[NamedTransform]:
    """Return the transform that a file is, or nothing."""
    name = BidsName.of(path)
    if name is None or name.suffix != 'xfm' or not path.name.endswith(ENDINGS) or 'desc' in name.entities:
        return []
    if not {'from', 'to'} <= name.entities.keys() or name.entities.get('mode', 'image') != 'image':
        return []
    described = read_json(sidecar(path)) or {}
    sources = described.get('Sources')
    # two transforms in one file have transforms as their sources, and scans at their ends
    uris = [*(described.get(end) for end in ('From', 'To')), *(sources if isinstance(sources, list) else [])]
    names = [BidsName.of(Path(str(uri))) for uri in uris]
    scans = {one.suffix: one.entities for one in names if one is not None and 'sub' in one.entities}
    return [NamedTransform(path, name, scans)]


def _scan(one: NamedTransform, space: str) -> Mapping[str, str]:
    """Return the entities of the scan of a space; where it is not known its session is that of the transform."""
    session = one.name.entities.get('ses')
    return one.scans.get(space, {'ses': session} if session else {})


def _scan_of(step: tuple[NamedTransform | None, NamedTransform | None], space: str) -> Mapping[str, str]:
    return next(_scan(one, space) for one in step if one is not None)


def _other_scan(
    name: BidsName | None, origin: str, step: tuple[NamedTransform | None, NamedTransform | None]
) -> tuple[str, ...]:
    """Say so where a file is a scan by its name, and has entities that the scan of the transform lacks."""
    if name is None or 'space' in name.entities or name.suffix != origin:
        return ()
    known = next((one.scans[origin] for one in step if one is not None and origin in one.scans), None)
    more = [f'{key}-{value}' for key, value in name.entities.items() if key in _OF_SCANS and key not in (known or {})]
    if known is None or not more:
        return ()
    return (
        f'the transform is of a {origin} without {" and ".join(more)} in its name: if that is another scan, the head '
        'may have moved between them',
    )


def _conflict(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Tell whether two files are of different scans, as far as their names say it."""
    return any(not same_label(one[key], other[key]) for key in _OF_SCANS & one.keys() & other.keys())


def _shared(one: Mapping[str, str], other: Mapping[str, str]) -> int:
    return len(_OF_SCANS & one.keys() & other.keys())


def _leg(wanted: NamedTransform | None, opposite: NamedTransform | None) -> Leg:
    if wanted is not None:
        return Leg(wanted.path)
    assert opposite is not None
    return Leg(opposite.path, inverted=True)


def _same_grid(source: Path, scan: Path | None) -> bool:
    if scan is None or not source.name.endswith(('.nii', '.nii.gz', '.mgz', '.mgh')):
        return False
    return grid_of(source).same_as(grid_of(scan), SAME_GRID_MM)


def _shortest(edges: Iterable[tuple[str, str]], origin: str, target: str) -> Iterator[Sequence[str]]:
    """Yield the ways with the fewest steps; every transform may be gone either way."""
    beside = defaultdict(set)
    for one, other in edges:
        beside[one].add(other)
        beside[other].add(one)
    ways, seen = [[origin]], {origin}
    while ways and all(way[-1] != target for way in ways):
        ways = [[*way, space] for way in ways for space in sorted(beside[way[-1]] - seen)]
        seen |= {way[-1] for way in ways}
    yield from (way for way in ways if way[-1] == target)
