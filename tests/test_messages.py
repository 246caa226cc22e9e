"""Sentences of events."""

import pytest

from bidsreg.messages import EVIDENCE, SENTENCES, describe, explain_decision, explain_linear
from bidsreg.programs.events import InverseMissing
from bidsreg.registration.events import LevelEnded, NothingFound, SolvedAgain


@pytest.mark.parametrize(
    ('converged', 'backtracks', 'words'),
    [
        (False, 0, 'all iterations are done'),
        (True, 0, 'the loss had stopped falling'),
        (True, 1, 'went back 1 time to smaller steps'),
        (True, 3, 'went back 3 times to smaller steps'),
    ],
)
def test_how_a_level_ended(converged, backtracks, words):
    text = describe(LevelEnded(2.0, 0.5, 17, 40, converged, backtracks).as_dict())
    assert text.startswith('2 mm, weights x 0.5: 17 iterations, ')
    assert words in text
    assert ('went back' in text) == bool(backtracks)


def test_a_stiffer_attempt_says_how_much():
    text = describe(SolvedAgain(1, 12, 4.0).as_dict())
    assert text == 'attempt 1: the deformation folds at 12 voxels; solving again, 4 times as stiff'


def test_a_field_without_an_inverse_says_how_far_off_it_is():
    text = describe(InverseMissing('pretended', 7, 12.345).as_dict())
    assert text.endswith('the field has none: the best approximation is up to 12.3 mm off, at 7 voxels')


def test_a_deformation_of_nothing_is_told():
    assert describe(NothingFound(0.0).as_dict()).startswith('no deformation was found')


def test_an_unknown_event_is_an_error():
    assert 'Nothing' not in SENTENCES
    with pytest.raises(KeyError):
        describe({'event': 'Nothing'})


@pytest.mark.parametrize('kept', ['rigid', 'affine'])
def test_what_linear_alignment_is_kept_is_explained_with_its_figures(kept):
    distances = {'rigid': 0.02375, 'affine': 0.02584}
    text = explain_linear(kept, distances, 0.0312)
    assert text.startswith(f'{kept} kept: deep in the brain the held-out MIND distance is 0.0238 after the rigid')
    assert '0.0258 after the affine (+8.8 %), which stretches the head by up to 3.1 %' in text
    # as an earlier version wrote it
    assert explain_linear(kept, distances).endswith('0.0238 after the rigid and 0.0258 after the affine')


@pytest.mark.parametrize(
    ('kept', 'worse', 'words'),
    [
        ('diffeo', (), 'does no harm'),
        ('diffeo', ('mi',), '(but mutual information got worse)'),
        ('affine', ('mi', 'mind_heldout'), 'by mutual information and held-out MIND distance, taken together'),
        ('affine', ('edge_correlation',), 'by edge correlation, which lost more than the others gained'),
        ('affine', (), 'by held-out MIND distance and mutual information and edge correlation, taken together'),
    ],
)
def test_a_decision_is_explained_with_its_numbers(kept, worse, words):
    affine = dict.fromkeys(EVIDENCE, 0.5)
    text = explain_decision(kept, worse, affine, dict.fromkeys(EVIDENCE, 0.25))
    assert words in text
    assert text.count('0.5') == text.count('0.25') == 3
