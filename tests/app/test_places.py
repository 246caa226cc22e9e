"""The app does the same wherever the dataset, the output, the work folder and temporary files lie."""

from __future__ import annotations

import shutil
import tempfile

import pytest

from bidsreg.bids.names import PRODUCTS, pair_outputs
from bidsreg.bids.pairs import find_pairs, plan_table
from bidsreg.reports import write_reports
from bidsreg.reports.pictures import PICTURES, picture_path
from bidsreg.settings import Settings
from tests import data

#: Folders that look like what a dataset, a derivative or a report is made of.
PLACES = [
    'sub-98/ses-7/anat/desc-x_T2w/figures',
    'part-phase/acq-x/derivatives/space-MNI',
    'run-3/code/sourcedata/.hidden',
    'a+b/sub-77/x',
]
SUBJECTS = {
    '01': {None: ['T1w', 'T2w']},
    '02': {'1': ['T1w', 'acq-y+z_T2w', 'run-2_T2w']},
    '0+3': {None: ['T1w', 'T2w']},
}


def relative(folder) -> list[str]:
    """What lies below a folder, without what has the name of a run."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob('*') if 'logs' not in path.parts)


#: The pictures that every pair has.
USUAL = [name for name, picture in PICTURES.items() if not picture.tells_of]


@pytest.fixture(scope='module')
def three(tmp_path_factory):
    return data.write_dataset(tmp_path_factory.mktemp('three') / 'raw', SUBJECTS)


@pytest.fixture
def anywhere(app, three, tmp_path, monkeypatch):
    """Run the pretended app and write its real pages in a place; the output, the plan and the pages' text."""

    def run(place: str):
        top = tmp_path / 'top' / place
        raw, temporary = top / 'raw', top / 'tmp'
        temporary.mkdir(parents=True)
        shutil.copytree(three, raw)
        monkeypatch.setenv('TMPDIR', str(temporary))
        monkeypatch.setattr(tempfile, 'tempdir', None)
        out = top / 'out'
        assert app(bids=raw, out=out, work=top / 'work') == 0
        settings = Settings(bids_dir=raw, output_dir=out, work_dir=top / 'work')
        plan = find_pairs(settings)
        for pair in plan.pairs:
            for name in USUAL:
                path = picture_path(pair, out, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"></svg>')
        pages = {page.name: page.read_text().replace(str(top), 'TOP') for page in write_reports(settings, plan, ())}
        assert not list(temporary.iterdir())
        return settings, plan, pages

    return run


@pytest.fixture
def plain(anywhere, tmp_path):
    settings, plan, pages = anywhere('plain')
    return plan_table(plan), relative(settings.output_dir), pages


@pytest.mark.parametrize('place', [PLACES[0], *(pytest.param(place, marks=pytest.mark.slow) for place in PLACES[1:])])
def test_the_same_plan_names_and_pages_in_any_place(anywhere, plain, place):
    settings, plan, pages = anywhere(place)
    table, names, plain_pages = plain
    assert plan_table(plan).equals(table)
    assert relative(settings.output_dir) == names
    assert {pair.name for pair in plan.pairs} == {
        'sub-01', 'sub-02_ses-1_acq-y+z', 'sub-02_ses-1_run-2', 'sub-0+3'
    }  # fmt:skip
    for pair in plan.pairs:
        assert {key for key, path in pair_outputs(pair, settings.output_dir).items() if path.is_file()} == set(PRODUCTS)
        page = pages[f'sub-{pair.subject}.html']
        for name in USUAL:
            assert picture_path(pair, settings.output_dir, name).name in page
    assert pages == plain_pages
