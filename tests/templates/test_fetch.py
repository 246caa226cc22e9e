"""What is missing of a template is fetched by TemplateFlow's client, here a pretended one, and by the real one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bidsreg.bids.spaces import parse_spaces
from bidsreg.errors import InputError
from bidsreg.templates import fetch
from bidsreg.templates.fetch import fetch_template
from bidsreg.templates.prepare import check_template
from bidsreg.templates.sources import MissingTemplateError
from tests.templates.flow import write_template

#: A client as TemplateFlow's: its import fills its folder with empty files, and what is asked for gets its content.
CLIENT = """
import os, pathlib, shutil
HOME = pathlib.Path(os.environ['TEMPLATEFLOW_HOME'])
STORE = pathlib.Path(os.environ['PRETENDED_STORE'])
for path in STORE.rglob('*.nii.gz'):
    place = HOME / path.relative_to(STORE)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.touch()

def get(template, resolution=None, cohort=None, hemi=None, desc=None, suffix=None, extension=None):
    if 'PRETENDED_FAILURE' in os.environ:
        raise RuntimeError(os.environ['PRETENDED_FAILURE'])
    parts = [f'tpl-{template}', f'cohort-{cohort}' if cohort else '', f'res-{resolution:02}' if resolution else '']
    parts += [f'desc-{desc}' if desc else '', suffix]
    (path,) = STORE.rglob('_'.join(filter(None, parts)) + extension)
    shutil.copy(path, HOME / path.relative_to(STORE))
"""


@pytest.fixture
def client(tmp_path, monkeypatch):
    """Put a pretended client before the real one; return the folder from which it gets templates."""
    package = tmp_path / 'client' / 'templateflow'
    package.mkdir(parents=True)
    (package / '__init__.py').touch()
    (package / 'api.py').write_text(CLIENT)
    store = tmp_path / 'store'
    store.mkdir()
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join([str(package.parent), os.environ.get('PYTHONPATH', '')]))
    monkeypatch.setenv('PRETENDED_STORE', str(store))
    return store


def missing(word: str, home: Path):
    (space,) = parse_spaces([word])
    with pytest.raises(MissingTemplateError) as caught:
        check_template(space, home)
    return space, home, caught.value


def test_what_is_missing_is_fetched_and_nothing_else(client, tmp_path):
    write_template(client, 'Pretended')
    write_template(client, 'Other')
    home = tmp_path / 'new' / 'home'
    space, *rest = missing('Pretended:res-2', home)
    fetch_template(space, *rest)
    found = check_template(space, home)
    assert found.grids[2].is_file()
    names = sorted(path.name for path in home.rglob('*') if path.is_file())
    ends = ('res-01_T1w', 'res-01_desc-brain_mask', 'res-02_desc-brain_mask')
    assert names == sorted(f'tpl-Pretended_{end}.nii.gz' for end in ends), 'no empty files, nothing half-written'
    kept = found.image.stat().st_mtime_ns
    space, *rest = missing('Other', home)
    fetch_template(space, *rest)
    assert check_template(space, home).image.is_file()
    assert found.image.stat().st_mtime_ns == kept


def test_empty_files_and_links_to_nothing_are_replaced(client, tmp_path):
    write_template(client, 'Infant', cohort=2)
    place = write_template(tmp_path / 'home', 'Infant', cohort=2)
    (place / 'tpl-Infant_cohort-2_res-01_T1w.nii.gz').write_bytes(b'')
    mask = place / 'tpl-Infant_cohort-2_res-01_desc-brain_mask.nii.gz'
    mask.unlink()
    mask.symlink_to(tmp_path / 'annex' / 'nothing')
    space, *rest = missing('Infant:cohort-2', tmp_path / 'home')
    fetch_template(space, *rest)
    assert check_template(space, tmp_path / 'home').mask == mask


def test_a_wrong_name_is_said_with_what_there_is(client, tmp_path):
    write_template(client, 'Pretended')
    home = tmp_path / 'home'
    space, *rest = missing('Pretendet', home)
    with pytest.raises(InputError, match=r"has no template Pretendet\. Did you mean 'Pretended'") as caught:
        fetch_template(space, *rest)
    assert str(home) in str(caught.value)
    assert 'templateflow.api' not in str(caught.value), 'it was just asked'
    assert not home.exists()
    space, *rest = missing('Pretended:res-3', home)
    with pytest.raises(InputError, match='no such resolution; known: 1, 2'):
        fetch_template(space, *rest)


def test_a_failure_of_the_client_is_passed_on_and_nothing_stays(client, tmp_path, monkeypatch):
    write_template(client, 'Pretended')
    monkeypatch.setenv('PRETENDED_FAILURE', 'no route to host')
    home = tmp_path / 'home'
    space, *rest = missing('Pretended', home)
    with pytest.raises(InputError, match='could not be fetched: RuntimeError: no route to host') as caught:
        fetch_template(space, *rest)
    assert "get('Pretended', resolution=[1]" in str(caught.value)
    assert not home.exists()


def test_where_nothing_is_fetched(client, tmp_path, monkeypatch):
    write_template(client, 'Pretended')
    home = tmp_path / 'home'
    space, *rest = missing('Pretended', home)
    for variable, value, said in (
        ('TEMPLATEFLOW_AUTOUPDATE', 'off', 'forbids'),
        ('TEMPLATEFLOW_USE_DATALAD', 'True', 'for DataLad'),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(variable, value)
            with pytest.raises(InputError, match=said):
                fetch_template(space, *rest)
    home.mkdir()
    (home / 'thesis.txt').touch()
    with pytest.raises(InputError, match='holds something else'):
        fetch_template(space, *rest)
    assert [path.name for path in home.iterdir()] == ['thesis.txt']


def test_a_client_that_hangs_is_ended(client, tmp_path, monkeypatch):
    write_template(client, 'Pretended')
    monkeypatch.setattr(fetch, 'SECONDS', 0.01)
    space, *rest = missing('Pretended', tmp_path / 'home')
    with pytest.raises(InputError, match=r'was not fetched in 0\.01 s'):
        fetch_template(space, *rest)


def test_a_folder_that_cannot_be_written_is_said(client, tmp_path):
    write_template(client, 'Pretended')
    (tmp_path / 'file').touch()
    space, *rest = missing('Pretended', tmp_path / 'file' / 'home')
    with pytest.raises(InputError, match='cannot be written'):
        fetch_template(space, *rest)
