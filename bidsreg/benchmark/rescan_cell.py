"""One method on two sessions of a person: read the three maps that it found, have them judged, and write the cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from bidsreg.benchmark.cell import KEPT, grid_of, read_deformation, read_own_facts, write_example
from bidsreg.benchmark.files import PathLike, write_json
from bidsreg.benchmark.judge import consistency, field_measures
from bidsreg.benchmark.measures import FOLDS, MAPS, RESCAN, rescan_key
from bidsreg.registration import itk
from bidsreg.registration.deformation import Deformation
from bidsreg.registration.grid import apply_affine
from bidsreg.registration.image import Image

#: So many points of the brain are followed, drawn with this seed.
POINTS, SEED = 5000, 7


def judge_rescan(
    *,
    cell: PathLike,
    method: str,
    fixed: Sequence[PathLike],
    fixed_mask: Sequence[PathLike],
    moving: Sequence[PathLike],
    affine: Sequence[PathLike],
    fixed_to_t2w: PathLike,
    moving_to_t2w: PathLike,
    forward: Sequence[PathLike] | None = None,
    inverse: Sequence[PathLike] | None = None,
    result: Sequence[PathLike] | None = None,
    method_seconds: Sequence[float] | None = None,
    method_cpu_seconds: Sequence[float] | None = None,
    facts: Mapping[str, Any] | None = None,
    example: PathLike | None = None,
) -> None:
    """Judge what a method found between two sessions, and write all numbers about it.

    Numbers of the fields and seconds are means over the three maps; folds are added up, and of memory it is the most.

    Parameters
    ----------
    cell : path
        JSON file to write.
    method : str
        The method's name.
    fixed, fixed_mask, moving, affine : sequence of path
        What each of the :data:`~bidsreg.benchmark.measures.MAPS` was found from, in their order.
    fixed_to_t2w, moving_to_t2w : path
        Matrices from the T1w of the first and the second session to the T2w of the same session.
    forward, inverse, result : sequence of path, optional
        What the method found; without them the affines alone are judged.
    method_seconds, method_cpu_seconds : sequence of float, optional
        Seconds of its processes, by the clock and of the CPUs.
    facts : mapping, optional
        What else goes into the cell.
    example : path, optional
        Where to leave the image of the panel: the second T2w on the first T1w.
    """
    grids = [grid_of(path) for path in fixed]
    nothing = [None] * len(MAPS)
    found = [
        read_deformation(*files) for files in zip(affine, forward or nothing, inverse or nothing, grids, strict=True)
    ]
    masks = [Image.load(Path(path)) for path in fixed_mask]
    to_t2w = [itk.read_affine(Path(path)) for path in (fixed_to_t2w, moving_to_t2w)]
    apart = consistency(find_ends(found, to_t2w, brain_points(masks[0])))
    measures = {RESCAN.key: apart['mean']}
    measures |= {rescan_key(one, other): apart[f'{one} | {other}'] for one, other in combinations(MAPS, 2)}
    fields = [field_measures(one, mask) for one, mask in zip(found, masks, strict=True)]
    measures |= {key: float(np.mean([field[key] for field in fields])) for key in fields[0]}
    measures[FOLDS.key] = sum(field[FOLDS.key] for field in fields)
    own: dict[str, Any] = {}
    if result is not None:
        own = _of_all([read_own_facts(path, method) for path in result])
    for key, values in (('seconds_total', method_seconds), ('cpu_seconds', method_cpu_seconds)):
        if values is not None:
            own[key] = float(np.mean(values))
    if example is not None:
        across = list(MAPS).index('T1w-T2w')
        write_example(example, found[across].apply(Image.load(Path(moving[across])), grids[across]), None)
    write_json(Path(cell), {**(facts or {}), 'status': 'done', **measures, **own})


def brain_points(mask: Image, count: int = POINTS) -> np.ndarray:
    """Draw points of a mask, always the same: world mm, shape (N, 3), N at most `count`."""
    there = np.argwhere(mask.data > 0)
    chosen = np.random.default_rng(SEED).permutation(len(there))[:count]
    return mask.grid.to_world(there[np.sort(chosen)])


def find_ends(found: Sequence[Deformation], to_t2w: Sequence[np.ndarray], points: np.ndarray) -> dict[str, np.ndarray]:
    """Return where each of the three maps takes points of the first T1w in the second T1w.

    Parameters
    ----------
    found : sequence of Deformation
        The maps, from scan to scan, in the order of :data:`~bidsreg.benchmark.measures.MAPS`.
    to_t2w : two ndarray, shape (4, 4)
        World of the T1w of the first and of the second session to that of their T2w.
    points : ndarray, shape (N, 3)
        World mm of the first T1w.

    Returns
    -------
    dict
        World mm of the second T1w, shape (N, 3), by the map.
    """
    ends = {}
    for (name, contrasts), one in zip(MAPS.items(), found, strict=True):
        start, last = (
            matrix if contrast == 'T2w' else np.eye(4) for matrix, contrast in zip(to_t2w, contrasts, strict=True)
        )
        ends[name] = apply_affine(np.linalg.inv(last), one.points(apply_affine(start, points)))
    return ends


def _of_all(facts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Put together what a method says of each map: its mean seconds and its most memory, else what the first says."""
    out = {key: facts[0][key] for key in KEPT if key in facts[0]}
    out |= {key: max(one[key] for one in facts) for key in ('peak_memory_mb', 'peak_gpu_memory_mb') if key in out}
    return out | {'seconds': float(np.mean([one['seconds'] for one in facts]))}
