"""The registry of pictures of a normalisation, and where its files lie."""

from pathlib import Path

from bidsreg.reports.spaces import SPACE_PICTURES, space_picture_path


def test_names_are_what_a_file_and_a_page_can_have():
    assert all(name.isalnum() and name.islower() for name in SPACE_PICTURES)


def test_pictures_of_two_spaces_do_not_meet():
    entities = {'subject': '01', 'session': '2'}
    paths = {
        space_picture_path({**entities, 'space': space, **more}, Path('/o'), 'space', 'T1w')
        for space, more in (('A', {}), ('B', {}), ('B', {'cohort': '1'}))
    }
    assert Path('/o/sub-01/figures/sub-01_ses-2_space-B_cohort-1_desc-space_T1w.svg') in paths
    assert len(paths) == 3
