"""The verdict, PASS, CHECK or FAIL: the numbers of a QC file against thresholds that a user can change."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bidsreg.bids.names import T2W_TO_T1W, Contrasts
from bidsreg.qc.thresholds import STATUSES, Threshold, read_thresholds
from bidsreg.qc.values import At, Facts, contrasts_of


@dataclass(frozen=True)
class Check:
    """A check: one number that is judged.

    Attributes
    ----------
    title : str
        Its name on the page, with ``{fixed}`` and ``{moving}`` for the contrasts.
    unit : str
        Its unit, empty for a plain ratio.
    value : callable
        Takes the content of the QC file; the number, or None where it was not measured.
    sentence : str
        The meaning of a bad value, with ``{value}`` for the number with its unit, ``{note}`` for what `note` finds,
        ``{how}`` for what the sign of a margin says, and the contrasts.
    note : callable, optional
        Takes the content of the QC file; a word for the sentence.
    silent : tuple of Contrasts
        Pairs of contrasts of which the number says nothing, whichever of the two is fixed.
    """

    title: str
    unit: str
    value: Callable[[Facts], float | None]
    sentence: str
    note: Callable[[Facts], Any] = lambda facts: ''
    silent: tuple[Contrasts, ...] = ()

    def speaks(self, contrasts: Contrasts) -> bool:
        """Tell whether the number says something of scans of these contrasts."""
        return not {contrasts, Contrasts(contrasts.moving, contrasts.fixed)} & set(self.silent)

    def name(self, contrasts: Contrasts = T2W_TO_T1W) -> str:
        """Return its name for scans of these contrasts."""
        return contrasts.fill(self.title)

    def say(self, facts: Facts, value: float) -> str:
        """Return the sentence for a value that is not good."""
        contrasts = contrasts_of(facts)
        if math.isnan(value):
            return f'{self.name(contrasts)}: it could not be computed.'
        how = 'better' if value < 0 else 'almost as well'
        words = {'value': f'{value:.3g}{self.unit}', 'note': self.note(facts), 'how': how, **contrasts.words}
        return self.sentence.format(**words)


@dataclass(frozen=True)
class Judged:
    """One check of one pair.

    Attributes
    ----------
    title, unit : str
        As the check has them.
    value : float
        The number, in that unit.
    status : {'PASS', 'CHECK', 'FAIL'}
        On which side of the threshold it lies.
    threshold : str
        The threshold in words.
    sentence : str
        The reason why it is not PASS; else empty.
    """

    title: str
    unit: str
    value: float
    status: str
    threshold: str
    sentence: str


@dataclass(frozen=True)
class Verdict:
    """The verdict on a pair.

    Attributes
    ----------
    status : {'PASS', 'CHECK', 'FAIL'}
        That of the worst check.
    checks : mapping of str to Judged
        Every number that was there to be judged.
    """

    status: str
    checks: Mapping[str, Judged]

    @property
    def reasons(self) -> list[str]:
        """The sentences of all checks that are not PASS, the worst first."""
        bad = [check for check in self.checks.values() if check.sentence]
        return [check.sentence for check in sorted(bad, key=lambda check: -STATUSES.index(check.status))]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for the QC file; a value that is not a number becomes null."""
        checks = {name: asdict(check) for name, check in self.checks.items()}
        for check in checks.values():
            if math.isnan(check['value']):
                check['value'] = None
        return {'status': self.status, 'reasons': self.reasons, 'checks': checks}


def _scale(facts: Facts) -> float | None:
    """Return the largest deviation of a stretch from 1, or of a scale in older files."""
    scales = At('affine.stretches')(facts) or At('affine.scales')(facts)
    return max(abs(scale - 1) for scale in scales) if scales else None


def _shear(facts: Facts) -> float | None:
    """Return the size of the largest shear."""
    shears = At('affine.shears')(facts)
    return max(map(abs, shears)) if shears else None


def _gain(facts: Facts) -> float | None:
    """Return the change of the mutual information from the headers to what is kept, percent.

    Of the affine alone where that is kept: a deformation makes up for an affine that is off by less than a voxel, which
    loses as much where the headers are right.
    """
    kept = At('result.decision.kept')(facts)
    before, after = At('result.evidence.before.mi')(facts), At(f'result.evidence.{kept}.mi')(facts)
    return None if before is None or after is None or before <= 0 else 100 * (after / before - 1)


#: The checks by the names they have in the file of thresholds, the most telling ones first.
CHECKS: dict[str, Check] = {
    'brain_in_view': Check(
        "{fixed}'s brain in the view of the {moving}",
        '',
        At('overlap.brain_in_view.affine'),
        'Only {value} of the brain lies in the field of view of the {moving}: part of the brain was not scanned, or '
        'the scans lie apart.',
    ),
    'brain_with_signal': Check(
        "{fixed}'s brain with signal in the {moving}",
        '',
        At('overlap.brain_with_signal'),
        'The registered {moving} shows something in only {value} of the brain: part of it is missing.',
    ),
    'mask_dice': Check(
        'Dice of the brain masks after the affine',
        '',
        At('overlap.mask_dice.affine'),
        'The brain masks of the two scans overlap by a Dice of only {value}: the affine does not fit.',
    ),
    'shift_margin': Check(
        'Information lost by a shift',
        '',
        At('alternatives.shift_margin'),
        'The scans agree {how} with the {moving} {note} (margin {value}): they are not aligned, or there is '
        'nothing in them to align.',
        At('alternatives.best_shift'),
    ),
    'turn_margin': Check(
        'Information lost by a turn',
        '',
        At('alternatives.turn_margin'),
        'The scans agree {how} with the {moving} turned by {note} (margin {value}): they are not aligned, or '
        'are not of one head.',
        At('alternatives.best_turn'),
    ),
    'mirror_margin': Check(
        'Information lost by a mirror',
        '',
        At('alternatives.mirror_margin'),
        'The scans agree {how} with the {moving} mirrored left-right (margin {value}): one of them is '
        'flipped, or they are not of one head.',
    ),
    'person_margin': Check(
        'Information lost by a mirror, without the deformation',
        '',
        At('alternatives.person_margin'),
        'Without the deformation the scans agree {how} with the {moving} mirrored left-right (margin {value}), as '
        'those of two people do: look whether they are of one head, and neither of them is flipped.',
    ),
    'mask_halves': Check(
        'Brain mask that its mirror image covers',
        '',
        At('mask_evidence.both_halves'),
        "Only {value} of the brain mask is covered by its mirror image at the middle of the {fixed}'s head: it lies to "
        'one side, or a part is missing.',
    ),
    'mask_width': Check(
        "Width of the brain mask by the head's",
        '',
        At('mask_evidence.width_share'),
        'The brain mask is only {value} as wide as the head of the {fixed}: it does not hold the whole brain.',
    ),
    'mask_around': Check(
        'Greys of the brain around its mask',
        '',
        At('mask_evidence.brain_around'),
        'Around the brain mask {value} of the voxels look like its inside in both scans: the mask leaves out brain.',
    ),
    'mask_edge': Check(
        'Surface of the brain mask on the edge of the {fixed}',
        '',
        At('mask_evidence.on_grid_edge'),
        'On {value} of its surface the brain mask ends where the {fixed} ends: part of the brain was not scanned, or '
        'the mask does not fit.',
    ),
    'mask_dark': Check(
        'Darkness of bone deep in the brain mask',
        '',
        At('mask_evidence.dark_inside'),
        'Of the brain mask {value} lies deep in it and is as dark in the T2w as bone, air or muscle: look whether it '
        'holds more than the brain, such as parts of the face or the skull.',
    ),
    'mask_beside': Check(
        'Largest ball of brain beside its mask',
        ' mm',
        At('mask_evidence.beside_mm'),
        'Beside the brain mask a ball with a radius of {value} looks like its inside in both scans: look whether it '
        'leaves out brain.',
    ),
    'second_mask': Check(
        "Dice of the user's brain mask and the one found without it",
        '',
        At('mask_evidence.second_dice'),
        'The brain mask that was given and the one that is found without it overlap by a Dice of only {value}: look '
        'which of them is wrong.',
    ),
    'second_beyond': Check(
        "Pieces that the user's brain mask or the one found without it lacks",
        '',
        At('mask_evidence.second_beyond'),
        'Of the brain mask that was given and the one that is found without it {value} lies more than 10 mm outside of '
        'one of them: look whether that one lacks a piece, or the other one goes beyond the brain.',
    ),
    'depth_contrast': Check(
        'White matter brighter in the T1w than in the {other}',
        '',
        At('depth_contrast'),
        'White matter is not brighter in the T1w than in the {other}, against its surroundings (log ratio '
        '{value}): the scans may have been exchanged, or have the wrong names.',
    ),
    'contrast': Check(
        'Correlation of the intensities',
        '',
        At('contrast'),
        'The contrasts of the two scans look alike (correlation {value}): one of them may be a copy of the other, or '
        'have the wrong name.',
        silent=(Contrasts('T1w', 'FLAIR'),),  # fluid is dark in both
    ),
    'tissue_contrast': Check(
        'Correlation of the intensities in grey and white matter',
        '',
        At('tissue_contrast'),
        'Grey and white matter look alike in the T1w and the {other} (correlation {value}): one of them may be a copy '
        'of the other, another T1w, or have the wrong name.',
    ),
    'gain': Check(
        'Change of the mutual information against the headers',
        ' %',
        _gain,
        'The scans agree less after the registration than where the headers placed them: their mutual information '
        'changed by {value}.',
    ),
    'deformation_found': Check(
        'Largest displacement that was found',
        ' mm',
        At('result.decision.found_mm'),
        'No deformation was found: the largest displacement in the brain is {value}, and what is left is the affine.',
    ),
    'folds': Check(
        'Folded voxels',
        ' %',
        At('result.jacobian.folds_percent'),
        'The deformation folds at {value} of the voxels: it is not a diffeomorphism.',
    ),
    'inverse_consistency': Check(
        'Inverse consistency, 99th percentile',
        ' mm',
        At('result.inverse_consistency_mm.p99'),
        'Forth and back misses the starting point by {value} (99th percentile): do not rely on the inverse.',
    ),
    'displacement': Check(
        'Displacement, 95th percentile',
        ' mm',
        At('result.displacement_mm.p95'),
        'The deformation moves the brain by {value} (95th percentile), much for two scans of one head.',
    ),
    'sdlogj': Check(
        'SD of log Jacobian',
        '',
        At('result.jacobian.sdlogj'),
        'The deformation changes volumes strongly (SD of the log Jacobian {value}): it may fit noise, or another head.',
    ),
    'scale': Check(
        'Scale of the affine, largest deviation from 1',
        '',
        _scale,
        'The affine changes the size by {value} along an axis: the voxel sizes of a header, or the head, may be wrong.',
    ),
    'shear': Check(
        'Shear of the affine, largest', '', _shear, 'The affine shears the brain by {value}: it may have gone astray.'
    ),
    'rotation': Check(
        'Rotation of the affine',
        '°',
        At('affine.rotation_total_deg'),
        'The {moving} is turned by {value} against the {fixed}: have a look whether that is so.',
    ),
    'brain_volume_small': Check(
        'Volume of the brain mask',
        ' ml',
        At('masks.t1w_ml'),
        'The brain mask of the {fixed} has only {value}: look whether it holds the whole brain.',
    ),
    'brain_volume_large': Check(
        'Volume of the brain mask',
        ' ml',
        At('masks.t1w_ml'),
        'The brain mask of the {fixed} has {value}: look whether it holds more than the brain.',
    ),
}


def judge(
    facts: Facts, thresholds: Mapping[str, Threshold] | None = None, checks: Mapping[str, Check] = CHECKS
) -> Verdict:
    """Judge a pair by the numbers of its QC file.

    Parameters
    ----------
    facts : mapping
        Content of its QC file. What was not measured is not judged.
    thresholds : mapping of str to Threshold, optional
        As :func:`read_thresholds` gives them. Default: the package's own.
    checks : mapping of str to Check, optional
        What is judged. Default: that of pairs.

    Raises
    ------
    ValueError
        When there is none of the numbers that the checks ask for.
    """
    thresholds = read_thresholds() if thresholds is None else thresholds
    judged, contrasts = {}, contrasts_of(facts)
    for name, check in checks.items():
        value = check.value(facts) if check.speaks(contrasts) else None
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        status = thresholds[name].status(value)
        sentence = '' if status == 'PASS' else check.say(facts, value)
        judged[name] = Judged(
            check.name(contrasts), check.unit.strip(), float(value), status, str(thresholds[name]), sentence
        )
    if not judged:
        raise ValueError('there is no number to judge the registration by')
    return Verdict(max((check.status for check in judged.values()), key=STATUSES.index), judged)
