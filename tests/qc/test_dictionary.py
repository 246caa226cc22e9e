"""The dictionary of the QC file names every number that is judged, and says what it is."""

from __future__ import annotations

import json

from bidsreg.bids.names import Contrasts
from bidsreg.qc.dictionary import common_words, dictionary_text, read_dictionaries, read_dictionary
from tests.qc.good import GOOD


def test_the_text_is_the_dictionary():
    assert json.loads(dictionary_text()) == read_dictionary()


def test_the_paths_and_words_are_those_of_the_contrasts():
    known = read_dictionary(Contrasts('T2w', 'T1w'))
    assert known['masks.t2w_ml']['Description'] == 'Volume of the brain mask of the T2w'
    assert known['overlap.brain_in_view.affine']['Description'].startswith('Share of the brain of the T2w inside')
    assert set(known) == set(read_dictionary())
    known = read_dictionary(Contrasts('T1w', 'FLAIR'))
    assert known['flair_findings']['Description'].startswith('What was odd about the header of the FLAIR')
    assert not any('t2w' in f'{path} {item}'.lower() for path, item in known.items())


def test_an_entry_has_a_description_and_maybe_a_unit():
    for path, item in read_dictionary().items():
        assert {'Description'} <= set(item) <= {'Description', 'Units', 'Levels'}, path


def test_every_number_that_is_judged_is_in_the_dictionary():
    dictionary = read_dictionary()

    def leaves(facts, path=''):
        for key, value in facts.items():
            yield from leaves(value, f'{path}{key}.') if isinstance(value, dict) else [f'{path}{key}']

    assert set(leaves(GOOD)) <= set(dictionary)
    assert all(item['Description'] for item in dictionary.values())


def test_files_of_several_contrasts_share_what_says_no_contrast():
    kinds = [Contrasts(), Contrasts('T1w', 'FLAIR')]
    assert common_words(kinds) == Contrasts('T1w', 'moving scan')
    assert common_words(kinds[1:]) == kinds[1]
    known = read_dictionaries(kinds)
    assert known['masks.t2w_ml']['Description'] == 'Volume of the brain mask of the T2w'
    assert known['masks.flair_ml']['Description'] == 'Volume of the brain mask of the FLAIR'
    assert known['masks.t1w_ml']['Description'] == 'Volume of the brain mask of the T1w'
    assert 'of the moving scan' in known['overlap.brain_in_view.affine']['Description']
    assert read_dictionaries(kinds[:1]) == read_dictionary()
    assert list(read_dictionaries(kinds[:1])) == list(read_dictionary())
    assert read_dictionaries([]) == {}
