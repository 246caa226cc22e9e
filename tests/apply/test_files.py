"""Transforms named one by one: their order, and what their names forbid."""

from pathlib import Path

import pytest

from bidsreg.apply.files import route_through
from bidsreg.errors import InputError

FIRST = Path('sub-01_from-T2w_to-T1w_mode-image_xfm.h5')
SECOND = Path('sub-01_from-T1w_to-MNI_mode-image_xfm.h5')
FILE = Path('lesion.nii.gz')


def test_the_way_and_the_way_back():
    route = route_through([SECOND, FIRST], FILE)
    assert [(leg.path, leg.inverted) for leg in route.images] == [(SECOND, False), (FIRST, False)]
    assert [(leg.path, leg.inverted) for leg in route.points] == [(FIRST, True), (SECOND, True)]
    assert (route.origin, route.target) == ('T2w', 'MNI')
    back = route_through([SECOND, FIRST], FILE, inverse=True)
    assert (back.images, back.points) == (route.points, route.images)
    assert (back.origin, back.target) == ('MNI', 'T2w')


def test_an_order_that_cannot_be_right_is_refused_with_the_right_one():
    with pytest.raises(InputError, match=f'Turn them round: --transform {SECOND} {FIRST}'):
        route_through([FIRST, SECOND], FILE)


def test_transforms_that_make_no_chain():
    other = Path('sub-01_from-FLAIR_to-PDw_mode-image_xfm.h5')
    with pytest.raises(InputError, match='They make no chain'):
        route_through([other, FIRST], FILE)
    with pytest.raises(InputError, match='T1w'):
        route_through([FIRST, FIRST], FILE)


def test_names_that_tell_nothing_forbid_nothing():
    route = route_through([Path('a.h5'), FIRST, Path('b.txt')], FILE)
    assert len(route.images) == 3
    assert route.origin == ''


@pytest.mark.parametrize(
    ('name', 'inverse', 'words'),
    [
        ('sub-02_space-T2w_mask.nii.gz', False, 'sub-02'),
        ('sub-01_space-T1w_mask.nii.gz', False, 'space T1w'),
        ('sub-01_T1w.nii.gz', False, 'space T1w'),
        ('sub-01_space-T2w_mask.nii.gz', True, 'space T2w'),
        ('sub-01_T2w.nii.gz', True, 'space T2w'),
    ],
)
def test_a_transform_of_another_pair_is_refused(name, inverse, words):
    with pytest.raises(InputError, match=words):
        route_through([FIRST], Path(name), inverse=inverse)


@pytest.mark.parametrize(
    ('name', 'inverse'),
    [
        ('sub-1_T2w.nii.gz', False),
        ('sub-01_T1w.nii.gz', True),
        ('sub-01_FLAIR.nii.gz', False),
        ('sub-01_dseg.nii', True),
    ],
)
def test_files_that_may_go_there(name, inverse):
    route_through([FIRST], Path(name), inverse=inverse)
