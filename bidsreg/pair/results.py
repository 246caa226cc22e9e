"""The folder of results: affine or deformation, the numbers of result.json, and the five files."""

from __future__ import annotations

import dataclasses
import json
import resource
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from bidsreg.messages import explain_decision
from bidsreg.pair.destination import check_replaceable
from bidsreg.registration.atomic import atomic_folder

if TYPE_CHECKING:
    from bidsreg.pair.request import PairRequest
    from bidsreg.programs import ProgramResult
    from bidsreg.registration import Deformation, Image, Result
    from bidsreg.registration.evidence import Evidence


def decide(keep: str, evidence_of: Mapping[str, Evidence | None], found_mm: float) -> dict[str, Any]:
    """Say what is ``kept``, the ``reason``, what would be ``better`` by the evidence, and ``found_mm``.

    A deformation that moves nothing is not kept, whatever is asked for: the affine is all that was found.

    Parameters
    ----------
    keep : str
        ``better``: let the evidence decide; ``diffeo``: keep the deformation in any case.
    evidence_of : mapping
        How alike the pair looks after the ``affine`` and after the ``diffeo``.
    found_mm : float
        Largest displacement in the brain of the deformation that was found, mm.
    """
    from bidsreg.registration import evidence

    if found_mm < evidence.UNMOVED_MM:
        reason = f'no deformation was found: the largest displacement in the brain is {found_mm:.2g} mm'
        return {'kept': 'affine', 'reason': reason, 'better': 'affine', 'found_mm': found_mm}
    # only the evidence before the affine may be absent
    affine, diffeo = cast('Evidence', evidence_of['affine']), cast('Evidence', evidence_of['diffeo'])
    decision = evidence.decide(affine, diffeo)
    reason = explain_decision(decision.kept, decision.worse, dataclasses.asdict(affine), dataclasses.asdict(diffeo))
    if keep == 'diffeo':
        kept, reason = keep, f'--keep diffeo was asked for; {reason}'
    else:
        kept = decision.kept
    return {'kept': kept, 'reason': reason, 'better': decision.kept, 'found_mm': found_mm}


def affine_alone(deformation: Deformation) -> Deformation:
    """Return the affine of a deformation, with displacements of zero on the same grid."""
    import numpy as np

    still = np.zeros_like(deformation.forward)
    return dataclasses.replace(deformation, forward=still, inverse=still)


def numbers(
    result: Result | ProgramResult,
    deformation: Deformation,
    determinant: Image,
    decision: Mapping[str, Any],
    threads: int = 1,
) -> dict[str, Any]:
    """Return what result.json says about a result and the deformation that is kept of it.

    Parameters
    ----------
    result : Result or ProgramResult
        What the method found.
    deformation : Deformation
        What is written: that of the result, or its affine alone.
    determinant : Image
        Its Jacobian determinant on its own grid.
    decision : mapping
        From `decide`.
    threads : int
        How many work.
    """
    import numpy as np

    from bidsreg.registration import evidence, metrics

    inside = result.mask.data > 0
    lengths = np.linalg.norm(deformation.forward[inside], axis=-1)
    folds = result.folds if decision['kept'] == 'diffeo' else 0
    return {
        'events': [event.as_dict() for event in result.events],
        'attempts': result.attempts,
        'repaired_voxels': result.repaired,
        'loss_history': result.history,
        'decision': decision,
        'evidence': evidence.as_dict(result.evidence),
        'jacobian': metrics.jacobian_summary(determinant.data, inside, folds),
        'displacement_mm': {'mean': float(lengths.mean()), **metrics.summary(lengths, {'p95': 95, 'max': 100})},
        'inverse_consistency_mm': metrics.inverse_consistency(
            deformation.forward, deformation.inverse, deformation.grid, inside, threads
        ),
        'grid': {
            'shape': list(deformation.grid.shape),
            'spacing_mm': deformation.grid.spacing.tolist(),
            'affine': deformation.grid.affine.tolist(),
        },
    }


def write_results(
    request: PairRequest,
    fixed: Image,
    moving: Image,
    result: Result | ProgramResult,
    facts: Mapping[str, Any],
    began: float,
    loaded: float,
) -> dict[str, Any]:
    """Judge a result and write its five files into a folder that takes its name once all of them are there.

    Parameters
    ----------
    request : PairRequest
        Names the folder; what may be replaced and what is kept, as `check_replaceable` and `decide` have it.
    fixed, moving : Image
        The pair.
    result : Result or ProgramResult
        What the method found.
    facts : mapping
        What result.json begins with; its ``device`` tells whether memory of a GPU is to be counted.
    began, loaded : float
        `time.perf_counter` when the command began, and when the images were read.

    Returns
    -------
    dict
        What result.json says.

    Raises
    ------
    ValueError
        If something has come into the place of the folder since the command began.
    OSError
        If it cannot be written.
    """
    from bidsreg.registration.evidence import largest_displacement

    decision = decide(request.keep, result.evidence, largest_displacement(result.deformation, result.mask))
    deformation = result.deformation if decision['kept'] == 'diffeo' else affine_alone(result.deformation)
    with atomic_folder(request.out, lambda out: check_replaceable(out, request.overwrite)) as folder:
        answer = {**facts, **_write_files(folder, deformation, fixed, moving, result, decision)}
        answer['seconds'] = {'load': loaded - began, **result.seconds, 'total': time.perf_counter() - began}
        answer |= peak_memory_mb(facts['device'])
        (folder / 'result.json').write_text(json.dumps(answer, indent=1))
    return answer


def peak_memory_mb(device: str) -> dict[str, float]:
    """Return the largest resident memory of this process or one it started, and of the GPU where one is used, in MB."""
    used = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    out = {'peak_memory_mb': max(used) / 1024}
    if device != 'cpu':
        import torch

        out['peak_gpu_memory_mb'] = torch.cuda.max_memory_allocated(device) / 2**20
    return out


def _write_files(
    folder: Path,
    deformation: Deformation,
    fixed: Image,
    moving: Image,
    result: Result | ProgramResult,
    decision: Mapping[str, Any],
) -> dict[str, Any]:
    """Write images and transforms and return the `numbers`, all at a time: sampling and packing take seconds."""
    import torch

    from bidsreg.registration.deformation import sampled_determinant
    from bidsreg.registration.numerics.threads import in_threads

    threads = torch.get_num_threads()

    def warped(share: int) -> None:
        deformation.apply(moving, fixed.grid, threads=share).save(folder / 'warped.nii.gz', share)

    def determinant(share: int) -> dict[str, Any]:
        own = deformation.jacobian(threads=share)
        sampled_determinant(own, fixed.grid, share).save(folder / 'jacobian.nii.gz', share)
        return numbers(result, deformation, own, decision, share)

    def forward(share: int) -> None:
        deformation.save(folder / 'forward.h5', share)

    def inverse(share: int) -> None:
        deformation.inverted().save(folder / 'inverse.h5', share)

    # those that take longest begin
    tasks: tuple[Callable[[int], Any], ...] = (forward, inverse, determinant, warped)
    share = max(1, threads // len(tasks))
    return in_threads(lambda task: task(share), tasks, threads)[2]
