"""The registry of pictures: what each needs is asked for by name."""

from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import pytest

from bidsreg.bids.names import Contrasts
from bidsreg.interfaces.draw import FILES
from bidsreg.reports.pictures import PICTURES, Scene, drawable, picture_path

MOVING = ('T2w', 'FLAIR')


def test_needs_are_files_of_a_scene():
    names = {field.name for field in fields(Scene)}
    assert names == {*FILES, 'contrasts'}
    for picture in PICTURES.values():
        assert set(picture.needs) | set(picture.uses) <= names
        assert picture.needs


def test_what_can_be_drawn_depends_on_the_files():
    scene = Scene(fixed=Path('a'), moving=Path('b'))
    assert drawable(scene) == ['before']
    assert scene.file('fixed') == Path('a')
    with pytest.raises(ValueError, match='the scene has no warped'):
        scene.file('warped')
    with pytest.raises(ValueError, match='the scene has no result'):
        scene.read_result()


def test_no_two_pictures_have_one_path():
    pairs = [SimpleNamespace(entities={'subject': '01', 'run': '2'}, contrasts=Contrasts(moving=m)) for m in MOVING]
    paths = {picture_path(pair, Path('/o'), name) for name in PICTURES for pair in pairs}
    assert len(paths) == len(PICTURES) * len(pairs)
    assert Path('/o/sub-01/figures/sub-01_run-2_desc-mask_T1w.svg') in paths
    assert Path('/o/sub-01/figures/sub-01_run-2_from-FLAIR_to-T1w_desc-mask_T1w.svg') in paths
    assert Path('/o/sub-01/figures/sub-01_run-2_from-FLAIR_to-T1w_desc-grid_FLAIR.svg') in paths
    assert Path('/o/sub-01/figures/sub-01_run-2_desc-grid_T2w.svg') in paths
