"""Sentences for what happened during a registration, made where people read them: consoles, logs and reports.

Events travel as records (:mod:`bidsreg.registration.events`) and, in ``result.json``, as their plain values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Values = Mapping[str, Any]


def _off(values: Values) -> str:
    return f'{values["mean"]:.2f} mm in the mean, {values["p99"]:.2f} mm at 99 %'


def _level_ended(values: Values) -> str:
    why = 'the loss had stopped falling' if values['converged'] else 'all iterations are done'
    times = values['backtracks']
    again = f'; went back {times} time{"s" if times > 1 else ""} to smaller steps' if times else ''
    return f'{values["level"]:g} mm, weights x {values["factor"]:g}: {values["iterations"]} iterations, {why}{again}'


SENTENCES: dict[str, Callable[[Values], str]] = {
    'Progress': lambda v: (
        f'level {v["level"]:g} mm  iteration {v["iteration"]}/{v["iterations"]}  loss {v["loss"]:.6f} '
        f'(similarity {v["similarity"]:.6f}, regularity {v["regularity"]:.6f})  {v["seconds_left"]:.0f} s left here'
    ),
    'TakenForBrain': lambda v: (
        f'{v["image"]} image: it is skull-stripped and has no mask; what is not zero ({v["volume_ml"]:.0f} ml) '
        'is taken for the brain'
    ),
    'MarginLeftOut': lambda v: (
        f'{v["image"]} image: it has no mask, and a margin of one value around what was measured '
        f'({v["percent"]:g} % of its voxels), which is left out'
    ),
    'StartFitted': lambda v: f'start: fitted to {v["error"]:.2f} mm of {v["displacement"]:.2f} mm in the mean',
    'NotRecorded': lambda v: f'{v["level"]:g} mm: iterations could not be recorded as a CUDA graph ({v["reason"]})',
    'LevelSkipped': lambda v: f'{v["level"]:g} mm: left out, no voxel has its whole neighbourhood in the field of view',
    'LevelEnded': _level_ended,
    'Backtracked': lambda v: (
        f'{v["level"]:g} mm, iteration {v["iteration"]}: the loss had risen; back to the lowest one, '
        f'and on with {v["step_scale"]:g} of the step size'
    ),
    'LooseningRejected': lambda v: f'weights x {v["factor"]:g}: discarded, held-out evidence did not improve',
    'NothingFound': lambda v: (
        'no deformation was found: the optimisation ended where it began '
        f'(largest displacement {v["largest_mm"]:.2g} mm)'
    ),
    'Repaired': lambda v: f'the deformation folded at {v["voxels"]} voxels; the velocity was smoothed about them',
    'Refined': lambda v: (
        f'fields with voxels of {v["voxel_mm"]:.3g} mm are consistent to {_off(v)} only: written with half of that'
    ),
    'InverseInexact': lambda v: f'the inverse is off by {_off(v)}: the deformation is rough for its grid',
    'SolvedAgain': lambda v: (
        f'attempt {v["attempt"]}: the deformation folds at {v["folds"]} voxels; solving again, '
        f'{v["stiffer"]:g} times as stiff'
    ),
    'BoxByBox': lambda v: (
        f'the GPU ran out of memory ({v["reason"]}); once more, box by box: the same answer in more time'
    ),
    'ProgramEnded': lambda v: f'{v["program"]} ended by its own rule',
    'InverseSearched': lambda v: f'{v["program"]} gives no inverse: the field was inverted',
    'InverseMissing': lambda v: (
        f'{v["program"]} gives no inverse, and the field has none: the best approximation is up to '
        f'{v["worst_mm"]:.3g} mm off, at {v["voxels"]} voxels'
    ),
    'FieldFolds': lambda v: f'{v["program"]}: the deformation folds at {v["voxels"]} voxels; it is written as it is',
}
"""What to say of an event, by its name (the class's); each takes the event's values."""


def describe(values: Values) -> str:
    """Return one sentence about an event.

    Parameters
    ----------
    values : mapping
        What :meth:`bidsreg.registration.events.Event.as_dict` returned: ``event`` and the event's fields.

    Raises
    ------
    KeyError
        If there is no such event.
    """
    return SENTENCES[values['event']](values)


EVIDENCE = {
    'mind_heldout': 'held-out MIND distance',
    'mi': 'mutual information',
    'edge_correlation': 'edge correlation',
}
"""What the kinds of evidence are called, by their fields of :class:`bidsreg.registration.evidence.Evidence`."""
_FORMATS = {'mind_heldout': '.4f', 'mi': '.3f', 'edge_correlation': '.3f'}


def explain_linear(kept: str, mind_heldout: Values, stretch: float | None = None) -> str:
    """Return one sentence about why the affine of a head, or the rigid before it, is kept.

    Parameters
    ----------
    kept, mind_heldout, stretch
        Of a :class:`bidsreg.preparation.linear.LinearChoice`; without `stretch` where it was not written.
    """
    rigid, affine = (format(mind_heldout[name], _FORMATS['mind_heldout']) for name in ('rigid', 'affine'))
    known = (
        f'{kept} kept: deep in the brain the {EVIDENCE["mind_heldout"]} is {rigid} after the rigid and {affine} after'
    )
    if stretch is None:
        return f'{known} the affine'
    change = 100 * (mind_heldout['affine'] / max(mind_heldout['rigid'], 1e-9) - 1)
    return (
        f'{known} the affine ({change:+.1f} %), which stretches the head by up to {100 * stretch:.1f} %; it is kept '
        'if it lowers the distance by as many per cent'
    )


def explain_decision(kept: str, worse: Sequence[str], affine: Values, diffeo: Values) -> str:
    """Return one sentence about why the affine or the deformation is kept.

    Parameters
    ----------
    kept, worse
        Of a :class:`bidsreg.registration.evidence.Decision`.
    affine, diffeo
        The evidence after each, by its fields.
    """
    numbers = ', '.join(
        f'{words} {affine[name]:{_FORMATS[name]}} to {diffeo[name]:{_FORMATS[name]}}'
        for name, words in EVIDENCE.items()
    )
    if kept == 'diffeo':
        note = f' (but {EVIDENCE[worse[0]]} got worse)' if worse else ''
        return f'the deformation does no harm by evidence it was not optimised on{note}: {numbers}'
    why = 'which lost more than the others gained' if len(worse) == 1 else 'taken together'
    names = ' and '.join(EVIDENCE[name] for name in worse or EVIDENCE)
    return f'the deformation looks worse than the affine by {names}, {why}: {numbers}'
