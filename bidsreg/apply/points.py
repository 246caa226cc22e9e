"""Points: tables as BIDS has them, tables of ANTs, and the markups of 3D Slicer.

| ending | columns or keys | coordinates |
|---|---|---|
| ``.tsv`` | ``x``, ``y``, ``z``; others are kept | mm, RAS+, as everything of BIDS that lies in a scan's world |
| ``.csv`` | the same | mm, LPS+, as ``antsApplyTransformsToPoints`` reads and writes them |
| ``.mrk.json``, ``.json`` | ``markups`` of control points | mm, as ``coordinateSystem`` says |
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bidsreg.apply.base import Carried, Errand, FileKind, Options
from bidsreg.apply.chain import Chain, outside
from bidsreg.apply.volumes import grid_of
from bidsreg.bids.sidecars import parse_json, to_json
from bidsreg.errors import InputError
from bidsreg.tables import NOTHING, parse_table, quotes_enclose, table_text

AXES = ['x', 'y', 'z']
_LPS = np.array([-1.0, -1.0, 1.0])
#: RAS+ and LPS+ by the words of 3D Slicer, old and new; what turns them to RAS+ and back.
_SYSTEMS = {'RAS': np.ones(3), 'LPS': _LPS, '0': np.ones(3), '1': _LPS}
#: Markups that are nothing but their control points.
_OF_POINTS = ('Fiducial', 'Line', 'Angle', 'Curve', 'ClosedCurve')
#: Decimals of mm that are written.
DIGITS = 5


@dataclass(frozen=True, eq=False)
class Places:
    """Points of a file.

    Attributes
    ----------
    points : ndarray, shape (N, 3)
        mm, RAS+.
    names : list of str
        What each is called in messages.
    text : callable
        Returns the content of the file with other places for these points.
    """

    points: np.ndarray
    names: list[str]
    text: Callable[[np.ndarray], str]


class PointFormat(abc.ABC):
    """One form in which files hold points."""

    @abc.abstractmethod
    def read(self, path: Path) -> Places:
        """Read points.

        Raises
        ------
        InputError
            If the file holds none, or some that are no places.
        """


@dataclass(frozen=True)
class _Table(PointFormat):
    """A table with a column for each axis; rows without a place stay as they are."""

    separator: str
    signs: tuple[float, float, float]

    def read(self, path: Path) -> Places:
        table, enclosing = self._table(path)
        if missing := [axis for axis in AXES if axis not in table]:
            raise InputError(f'{path}: has no column {" and ".join(missing)}: places stand in x, y and z, in mm.')
        known = (table[AXES] != NOTHING).any(axis=1).to_numpy()
        values = table.loc[known, AXES].apply(pd.to_numeric, errors='coerce').to_numpy(float)
        rows = np.flatnonzero(known)
        if not len(rows):
            raise InputError(f'{path}: has no points.')
        wrong = rows[~np.isfinite(values).all(1)]
        if len(wrong):
            lines = ', '.join(str(row + 2) for row in wrong[:5])
            raise InputError(
                f'{path}: {len(wrong)} points are no places (line {lines}): x, y and z are finite numbers in mm, or '
                f'all {NOTHING}.'
            )
        signs = np.array(self.signs)

        def text(there: np.ndarray) -> str:
            moved = table.copy()
            for axis, column in zip(AXES, (there * signs).T, strict=True):
                moved.loc[known, axis] = [_number(value) for value in column]
            return table_text(moved, self.separator, enclosing=enclosing)

        return Places(values * signs, [f'line {row + 2}' for row in rows], text)

    def _table(self, path: Path) -> tuple[pd.DataFrame, bool]:
        """Read every cell as a text, and what its quotes mean, so that other columns come out as they are."""
        try:
            content = path.read_text(encoding='utf-8-sig')
            return parse_table(content, self.separator), quotes_enclose(content, self.separator)
        except (OSError, ValueError) as error:
            raise InputError(f'{path}: cannot be read as a table of points: {error}') from error


class _Markups(PointFormat):
    """The markups of 3D Slicer; whatever else they hold is kept, but measurements, which were of the old places."""

    def read(self, path: Path) -> Places:
        try:
            content = parse_json(path.read_text(encoding='utf-8-sig'))
        except (OSError, ValueError) as error:
            raise InputError(f'{path}: cannot be read as JSON: {error}') from error
        markups = content.get('markups') if isinstance(content, dict) else None
        if not isinstance(markups, list) or not all(isinstance(one, dict) for one in markups):
            raise InputError(f'{path}: is no file of markups as 3D Slicer writes them: it has no list "markups".')
        found: list[tuple[dict[str, Any], np.ndarray]] = []
        for markup in markups:
            signs = _signs(path, markup)
            found += [(point, signs) for point in _control_points(path, markup)]
        if not found:
            raise InputError(f'{path}: has no points.')
        names = [str(point.get('label') or point.get('id') or number) for number, (point, _) in enumerate(found, 1)]
        values = np.array([_position(path, name, point) for name, (point, _) in zip(names, found, strict=True)])
        signs = np.array([turn for _, turn in found])

        def text(there: np.ndarray) -> str:
            # the points are parts of the content
            for (point, _), place in zip(found, there * signs, strict=True):
                point['position'] = [round(float(value), DIGITS) for value in place]
            for markup in markups:
                markup.pop('measurements', None)
            return to_json(content)

        return Places(values * signs, names, text)


def _signs(path: Path, markup: dict[str, Any]) -> np.ndarray:
    """Return what turns the coordinates of a markup to RAS+."""
    kind = markup.get('type', 'Fiducial')
    if kind not in _OF_POINTS:
        raise InputError(
            f'{path}: a markup of the type {kind} has a form beside its points; taken are {", ".join(_OF_POINTS)}.'
        )
    system = str(markup.get('coordinateSystem', ''))
    if system not in _SYSTEMS:
        raise InputError(f'{path}: coordinateSystem is {system or "missing"}: it has to be LPS or RAS.')
    if (unit := markup.get('coordinateUnits', 'mm')) != 'mm':
        raise InputError(f'{path}: coordinateUnits is {unit}: it has to be mm.')
    return _SYSTEMS[system]


def _control_points(path: Path, markup: dict[str, Any]) -> list[dict[str, Any]]:
    points = markup.get('controlPoints', [])
    if not isinstance(points, list) or not all(isinstance(point, dict) for point in points):
        raise InputError(f'{path}: its controlPoints are no list of points.')
    return [point for point in points if point.get('positionStatus', 'defined') == 'defined']


def _position(path: Path, name: str, point: dict[str, Any]) -> np.ndarray:
    try:
        place = np.array(point['position'], float)
    except (KeyError, TypeError, ValueError):
        place = np.zeros(0)
    if place.shape != (3,) or not np.isfinite(place).all():
        raise InputError(f'{path}: the position of point {name} is not three finite numbers.')
    return place


def _number(value: float) -> str:
    return f'{value:.{DIGITS}f}'.rstrip('0').rstrip('.')


_RAS = (1.0, 1.0, 1.0)
POINT_FORMATS: dict[str, PointFormat] = {
    '.mrk.json': _Markups(),
    '.json': _Markups(),
    '.tsv': _Table('\t', _RAS),
    '.csv': _Table(',', (-1.0, -1.0, 1.0)),
}
"""By how names end."""


def carried(
    places: np.ndarray, names: list[str], errand: Errand, threads: int, what: str = 'points'
) -> tuple[np.ndarray, Carried]:
    """Take places along the route of an errand.

    Parameters
    ----------
    places : ndarray, shape (N, 3)
        mm, RAS+.
    names : list of str
        What each is called in messages.
    errand : Errand
        The file that they are of.
    threads : int
        How many work.
    what : str
        What they are.

    Returns
    -------
    there : ndarray, shape (N, 3)
        Where they come to.
    outcome : Carried
        How many lie beyond fields, and beyond the image that they begin at.

    Raises
    ------
    InputError
        If some have no place there, or most lie beyond the image that they begin at.
    """
    notes = []
    if errand.route.view is not None:
        beyond = outside(grid_of(errand.route.view), places, 0.5)
        if 2 * beyond.sum() > len(places):
            raise InputError(
                f'{errand.source}: {beyond.sum()} of {len(places)} {what} lie outside of {errand.route.view.name}: '
                f'they are in another space than {errand.route.origin}. Say with --from in which, or mend '
                'their coordinates.'
            )
        if beyond.any():
            notes.append(f'{_listed(beyond, names)} of {len(places)} {what} lie outside of {errand.route.view.name}')
    there, left = Chain.read(errand.route.points).points(places, threads)
    lost = ~np.isfinite(there).all(1)
    if lost.any():
        raise InputError(
            f'{errand.source}: {_listed(lost, names)} of {len(places)} {what} have no place there: the transform folds '
            'where they are.'
        )
    if left.any():
        notes.append(
            f'{_listed(left, names)} of {len(places)} {what} lie outside of the displacement field, where only '
            'the affine acts'
        )
    return there, Carried({'OutsideOfField': int(left.sum())}, tuple(notes))


def _listed(marked: np.ndarray, names: list[str]) -> str:
    """Return how many are marked, with the names of the first where there are names."""
    some = [names[k] for k in np.flatnonzero(marked)[:3]] if names else []
    more = ', ...' if marked.sum() > len(some) else ''
    return f'{marked.sum()}' + (f' ({", ".join(some)}{more})' if some else '')


class Points(FileKind):
    """Places, such as landmarks and electrodes."""

    name = 'points'
    endings = tuple(POINT_FORMATS)
    suffix = 'points'

    def ending_of(self, source: Path) -> str:
        """Return how the name of the result ends; a plain ``.json`` would be taken for a sidecar."""
        ending = super().ending_of(source)
        return '.mrk.json' if ending == '.json' else ending

    def _format(self, path: Path) -> PointFormat:
        return POINT_FORMATS[super().ending_of(path)]

    def check(self, errand: Errand, options: Options) -> None:
        """Read the points: they are few."""
        if options.interpolation is not None:
            raise InputError(f'{errand.source}: --interpolation is for images, not for points.')
        wanted = self.ending_of(errand.source)
        if not errand.out.name.endswith((wanted, super().ending_of(errand.source))):
            raise InputError(
                f'{errand.out}: the points of {errand.source.name} are written to a name that ends in {wanted}.'
            )
        self._format(errand.source).read(errand.source)

    def carry(self, errand: Errand, options: Options, hidden: Path) -> Carried:
        """Write the file again with every point where it belongs."""
        places = self._format(errand.source).read(errand.source)
        there, outcome = carried(places.points, places.names, errand, options.threads)
        hidden.write_text(places.text(there), encoding='utf-8')
        return outcome
