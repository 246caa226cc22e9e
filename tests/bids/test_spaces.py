"""Spaces as a command line asks for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bidsreg.bids.spaces import EMBEDDED, Space, parse_spaces
from bidsreg.errors import InputError


@pytest.mark.parametrize(
    ('words', 'spaces'),
    [
        (['MNI'], [Space(EMBEDDED)]),
        (['MNI152NLin2009cAsym:res-1'], [Space('MNI152NLin2009cAsym', None, (1,))]),
        (['MNIInfant:cohort-2:res-2'], [Space('MNIInfant', 2, (2,))]),
        (['MNIInfant:res-2:cohort-2:cohort-1'], [Space('MNIInfant', 2, (2,)), Space('MNIInfant', 1, (2,))]),
        (['A:res-2', 'B', 'A:res-1:res-2'], [Space('A', None, (2, 1)), Space('B')]),
        (['A:res-01'], [Space('A', None, (1,))]),
        (['mystudy:/d/t.nii.gz'], [Space('mystudy', path=Path('/d/t.nii.gz'))]),
        (['mystudy:/d/t.nii:/d/m.nii:res-2'], [Space('mystudy', None, (2,), Path('/d/t.nii'), Path('/d/m.nii'))]),
        (['MNI', EMBEDDED], [Space(EMBEDDED)]),
        ([], []),
    ],
)
def test_spaces_are_read(words, spaces):
    assert parse_spaces(words) == tuple(spaces)


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (['fsaverage'], 'a surface, not a volume'),
        (['T1w'], "a person's own space"),
        (['MNI-152'], 'letters and digits'),
        ([''], 'letters and digits'),
        (['MNI:res-0'], 'from 1 to 99'),
        (['MNI:res-native'], 'from 1 to 99'),
        (['MNI:res-²'], 'from 1 to 99'),
        (['MNIInfant:cohort-x'], 'from 1 to 99'),
        (['mystudy:'], 'write NAME'),
        (['mystudy:a.nii:b.nii:c.nii'], 'write NAME'),
        (['mystudy:a.nii:cohort-1'], 'no cohorts'),
        (['MNI:a.nii'], 'another name'),
        (['my:a.nii', 'my:b.nii'], 'two templates'),
        (['A', 'A:res-2'], 'with and without res-'),
    ],
)
def test_words_that_are_no_space_are_refused(words, said):
    with pytest.raises(InputError, match=said):
        parse_spaces(words)


def test_labels_and_entities():
    space = Space('MNIInfant', 3, (1, 2))
    assert (space.label, space.grids) == ('MNIInfant+3', (1, 2))
    assert space.entities(2) == {'space': 'MNIInfant', 'cohort': '3', 'resolution': '2'}
    assert Space('A').entities(None) == {'space': 'A'}
    assert Space('A').grids == (None,)
