"""The registry of pictures: what each needs is asked for by name."""

from dataclasses import fields
from pathlib import Path

import pytest

from bidsreg.interfaces.draw import FILES
from bidsreg.reports.pictures import PICTURES, Scene, drawable, picture_path


def test_needs_are_files_of_a_scene():
    names = {field.name for field in fields(Scene)}
    assert names == set(FILES)
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
    paths = {picture_path({'subject': '01', 'run': '2'}, Path('/o'), name) for name in PICTURES}
    assert len(paths) == len(PICTURES)
    assert Path('/o/sub-01/figures/sub-01_run-2_desc-grid_T2w.svg') in paths
