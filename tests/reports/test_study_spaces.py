"""The study in the spaces of templates: its table, mean and spread against NumPy's, and the pages."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from bidsreg.bids.normalisations import normalisation_outputs
from bidsreg.qc.normalisation import NORMALISATION_CHECKS
from bidsreg.reports import write_reports
from bidsreg.reports.study import read_study
from bidsreg.reports.study_page import write_study
from bidsreg.reports.study_spaces import mean_and_spread, read_study_spaces, write_study_spaces
from tests.reports.spaces import make_normalised


@pytest.fixture
def normalised(tmp_path):
    return make_normalised(tmp_path)


def test_mean_and_spread_are_numpys(tmp_path):
    rng, files, scaled = np.random.default_rng(0), [], []
    inside = np.zeros((5, 6, 7), bool)
    inside[1:4, 1:5, 1:6] = True
    for number in range(4):
        data = rng.uniform(1, 9, inside.shape).astype(np.float32) * 10**number
        paths = tmp_path / f'{number}.nii.gz', tmp_path / f'{number}_mask.nii.gz'
        nib.save(nib.Nifti1Image(data, np.eye(4)), paths[0])
        nib.save(nib.Nifti1Image(inside.astype(np.uint8), np.eye(4)), paths[1])
        files.append(paths)
        scaled.append(data / np.median(data[inside]))
    mean, spread = mean_and_spread(files)
    np.testing.assert_allclose(np.asarray(mean.dataobj), np.mean(scaled, 0), rtol=1e-4)
    np.testing.assert_allclose(np.asarray(spread.dataobj), np.std(scaled, 0, ddof=1), rtol=1e-3)
    nib.save(nib.Nifti1Image(np.ones((5, 6, 8), np.float32), np.eye(4)), files[1][0])
    with pytest.raises(ValueError, match='another grid'):
        mean_and_spread(files)


def test_the_table_has_everybody_and_every_number(normalised):
    study = read_study_spaces(normalised.settings)
    write_study_spaces(study, normalised.settings)
    out = normalised.settings.output_dir
    with (out / 'group_normalisation.tsv').open() as stream:
        rows = list(csv.DictReader(stream, delimiter='\t'))
    assert [(row['participant_id'], row['reference'], row['verdict']) for row in rows] == [
        ('sub-01', 'T1w', 'PASS'),
        ('sub-02', 'T1w', 'PASS'),
        ('sub-03', 'T2w', 'PASS'),
    ]
    words = json.loads((out / 'group_normalisation.json').read_text())
    assert set(words) == set(rows[0])
    assert set(NORMALISATION_CHECKS) <= set(words)


def test_the_mean_is_drawn_of_two_people_and_not_of_one(normalised):
    titles = [picture.title for picture in read_study_spaces(normalised.settings).pictures]
    assert titles == ['Mean T1w of 2 scans in A', 'Standard deviation of the T1w of 2 scans in A']
    path = normalisation_outputs(normalised.units[0], normalised.settings.output_dir)['image_res-2']
    path.write_bytes(path.read_bytes()[:-40])
    study = read_study_spaces(normalised.settings)
    assert study.pictures == [], 'a damaged image costs the pictures'
    assert len(study.records) == 3


def test_both_pages_tell_of_it(normalised):
    settings = normalised.settings
    logs = settings.output_dir / 'logs'
    logs.mkdir(exist_ok=True)
    (logs / 'pairs.tsv').write_text(
        'subject\tsession\tt1w\tt2w\tdecision\treason\n01\t\t\t\tno pair\tonly T1w, no T2w\n'
    )
    page = write_study(read_study(settings), settings).read_text()
    assert '<section id="spaces">' in page
    assert page.count('data:image/svg+xml;base64,') == 2
    outcomes = [_done(unit) for unit in normalised.units]
    (first, *_rest) = write_reports(settings, normalised.plan, (), outcomes)
    text = first.read_text()
    assert 'id="sub-01_T1w_to-A"' in text.replace('sub-01-T1w-to-A', 'sub-01_T1w_to-A') or 'sub-01_T1w_to-A' in text
    assert 'In the space of the template' in text
    assert 'sub-01_space-A_desc-space_T1w.svg' in text
    inside = write_reports(replace(settings, self_contained=True), normalised.plan, (), outcomes)[0].read_text()
    assert 'figures/' not in inside


def _done(unit):
    from bidsreg.outcome import Outcome

    return Outcome(unit.name, unit.subject, unit.session, 'done')


def test_nobody_normalised_is_no_section_and_no_table(normalised):
    for unit in normalised.units:
        normalisation_outputs(unit, normalised.settings.output_dir)['qc'].unlink()
    study = read_study_spaces(normalised.settings)
    write_study_spaces(study, normalised.settings)
    assert (study.records, study.pictures) == ([], [])
    assert not (normalised.settings.output_dir / 'group_normalisation.tsv').exists()
