"""Where templates come from, and what is said of those that are not there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import pytest
from nilearn.datasets.struct import MNI152_FILE_PATH

from bidsreg.bids.spaces import EMBEDDED, parse_spaces
from bidsreg.errors import InputError
from bidsreg.templates.sources import find_template, how_to_get, templateflow_home
from tests.templates.flow import head, write_template


def find(word: str, home: Path):
    (space,) = parse_spaces([word])
    return find_template(space, home)


def test_the_template_of_nilearn_needs_no_folder(tmp_path):
    found = find('MNI:res-1:res-2', tmp_path / 'none')
    assert found.image == Path(MNI152_FILE_PATH)
    assert found.image.is_file()
    assert (found.contrast, found.mask, found.grids) == ('T1w', None, {2: None})
    with pytest.raises(InputError, match='resolutions 1'):
        find('MNI:res-5', tmp_path)
    with pytest.raises(InputError, match='no cohorts'):
        find(f'{EMBEDDED}:cohort-1', tmp_path)


def test_files_of_templateflow(tmp_path):
    place = write_template(tmp_path, 'Pretended')
    found = find('Pretended:res-1:res-2', tmp_path)
    assert found.image == place / 'tpl-Pretended_res-01_T1w.nii.gz'
    assert found.mask == place / 'tpl-Pretended_res-01_desc-brain_mask.nii.gz'
    assert list(found.grids) == [2]
    assert found.grids[2].name.startswith('tpl-Pretended_res-02_')


def test_the_names_of_folders_above_say_nothing(tmp_path):
    home = tmp_path / 'tpl-Old_res-02_T1w' / 'cohort-7'
    place = write_template(home, 'Pretended', resolutions=(1,))
    assert find('Pretended', home).image.parent == place


def test_a_cohort_is_needed_where_there_are_some(tmp_path):
    place = write_template(tmp_path, 'Infant', cohort=2)
    assert find('Infant:cohort-2', tmp_path).image == place / 'tpl-Infant_cohort-2_res-01_T1w.nii.gz'
    with pytest.raises(InputError, match='has cohorts: choose from 2'):
        find('Infant', tmp_path)
    with pytest.raises(InputError, match='no cohort 3: choose from 2'):
        find('Infant:cohort-3', tmp_path)
    write_template(tmp_path, 'Pretended')
    with pytest.raises(InputError, match='no cohort 1: it has none'):
        find('Pretended:cohort-1', tmp_path)


def test_a_template_that_is_not_there_is_said_with_how_to_get_it(tmp_path):
    with pytest.raises(InputError, match='no folder of TemplateFlow') as caught:
        find('MNI152NLin2009cAsym:res-1', tmp_path / 'none')
    assert "get('MNI152NLin2009cAsym', resolution=[1], suffix='T1w', desc=None)" in str(caught.value)
    write_template(tmp_path, 'MNI152NLin2009cAsym')
    with pytest.raises(InputError, match="Did you mean 'MNI152NLin2009cAsym'"):
        find('MNI152NLin2009cAsim', tmp_path)


def test_an_unknown_resolution_is_said(tmp_path):
    write_template(tmp_path, 'Pretended')
    with pytest.raises(InputError, match='no such resolution; known: 1, 2'):
        find('Pretended:res-3', tmp_path)


@pytest.mark.parametrize('name', ['res-01_T1w', 'res-01_desc-brain_mask', 'res-02_T1w'])
def test_a_folder_that_is_half_there_is_said(tmp_path, name):
    place = write_template(tmp_path, 'Pretended')
    path = place / f'tpl-Pretended_{name}.nii.gz'
    path.write_bytes(b'')
    if name == 'res-02_T1w':  # its mask alone would do
        (place / 'tpl-Pretended_res-02_desc-brain_mask.nii.gz').write_bytes(b'')
    with pytest.raises(InputError, match='was not downloaded yet'):
        find('Pretended:res-1:res-2', tmp_path)
    for link in place.glob('*res-02*'):
        link.unlink()
        link.symlink_to(tmp_path / 'annex' / 'nothing')  # as git-annex leaves them
    with pytest.raises(InputError, match='was not downloaded yet'):
        find('Pretended:res-1:res-2', tmp_path)


def test_a_template_without_a_mask_or_an_image_is_said(tmp_path):
    place = write_template(tmp_path, 'Pretended', resolutions=(1,))
    (place / 'tpl-Pretended_res-01_desc-brain_mask.nii.gz').unlink()
    with pytest.raises(InputError, match='no brain mask beside it'):
        find('Pretended', tmp_path)
    (place / 'tpl-Pretended_res-01_T1w.nii.gz').unlink()
    with pytest.raises(InputError, match='no T1w and no T2w'):
        find('Pretended', tmp_path)


def test_a_t2w_is_taken_where_there_is_no_t1w(tmp_path):
    place = write_template(tmp_path, 'Pretended', resolutions=(1,))
    (place / 'tpl-Pretended_res-01_T1w.nii.gz').rename(place / 'tpl-Pretended_res-01_T2w.nii.gz')
    assert find('Pretended', tmp_path).contrast == 'T2w'


@pytest.mark.parametrize('name', ['study_T1w_desc-brain_mask', 'study_desc-brain_mask', 'study_mask', 'study_T1w_mask'])
def test_the_mask_of_an_own_template_lies_beside_it(tmp_path, name):
    image, mask = head()
    image.to_filename(tmp_path / 'study_T1w.nii.gz')
    word = f'mystudy:{tmp_path / "study_T1w.nii.gz"}'
    assert find(word, tmp_path).mask is None
    mask.to_filename(tmp_path / f'{name}.nii.gz')
    found = find(word, tmp_path)
    assert (found.mask, found.contrast) == (tmp_path / f'{name}.nii.gz', 'T1w')
    nib.save(mask, tmp_path / 'other.nii.gz')
    assert find(f'{word}:{tmp_path / "other.nii.gz"}', tmp_path).mask == tmp_path / 'other.nii.gz'
    with pytest.raises(InputError, match='there is no file'):
        find(f'{word}:{tmp_path / "nosuch.nii.gz"}', tmp_path)


@pytest.mark.parametrize(
    ('image', 'mask'),
    [
        ('study_T1w.nii', 'study_desc-brain_mask.nii.gz'),
        ('study_T1w.nii.gz', 'study_T1w_mask.nii'),
        ('study_0.7mm_T1w.nii.gz', 'study_0.7mm_T1w_mask.nii.gz'),
        ('study_0.7mm_T1w.nii.gz', 'study_0.7mm_desc-brain_mask.nii'),
    ],
)
def test_the_mask_of_an_own_template_is_found_compressed_or_not_and_with_dots_in_its_name(tmp_path, image, mask):
    """A stripped template has a mask in it, which would take its place without a word."""
    for name in (image, mask, 'study_desc-brain_mask.7mm_T1w.nii.gz'):
        (tmp_path / name).write_bytes(b'')
    found = find(f'mystudy:{tmp_path / image}', tmp_path)
    assert (found.mask, found.contrast) == (tmp_path / mask, 'T1w')


def test_the_folder_of_templateflow(tmp_path, monkeypatch):
    monkeypatch.setenv('TEMPLATEFLOW_HOME', str(tmp_path / 'a'))
    assert templateflow_home(None) == tmp_path / 'a'
    assert templateflow_home(tmp_path / 'b') == tmp_path / 'b'
    monkeypatch.delenv('TEMPLATEFLOW_HOME')
    assert templateflow_home(None).name == 'templateflow'


def test_templateflow_itself_finds_what_we_find_and_the_command_is_one_that_works(tmp_path):
    """The client's own words for the same files, in a process of its own with the folder that is meant."""
    write_template(tmp_path, 'Pretended')
    write_template(tmp_path, 'Infant', cohort=2)
    for word in ('Pretended:res-1:res-2', 'Infant:cohort-2:res-2'):
        (space,) = parse_spaces([word])
        command = how_to_get(space, tmp_path).partition(' -c "')[2].removesuffix('"')
        code = command.replace('get import get', '').replace('; ', '\nprint(', 1).replace('; ', ')\nprint(') + ')'
        done = subprocess.run(
            [sys.executable, '-c', code],
            env={**os.environ, 'TEMPLATEFLOW_HOME': str(tmp_path), 'TEMPLATEFLOW_AUTOUPDATE': 'off'},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found = find_template(space, tmp_path)
        assert str(found.image) in done.stdout
        assert str(found.mask) in done.stdout
