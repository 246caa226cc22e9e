"""The script of translations: who is trained on, and that what is done is kept."""

from __future__ import annotations

import dataclasses
import json

import nibabel as nib
import numpy as np
import pytest
import translation

from bidsreg.registration import PRESETS
from tests import data

SHAPE = (36, 42, 36)


@pytest.fixture(scope='module')
def pairs(tmp_path_factory):
    """Both orders of two pairs, without skulls."""
    folder = tmp_path_factory.mktemp('pairs')
    for one, other in ('12', '21', '34', '43'):
        place = folder / f'0{one}-0{other}'
        place.mkdir()
        for end, person, contrast in (('fixed', one, 'T1w'), ('moving', other, 'T2w')):
            head = data.head(SHAPE, int(person), contrast)
            brain = np.asarray(head.scan.dataobj) * np.asarray(head.mask.dataobj)
            nib.save(data.image(brain, head.scan.affine), place / f'{end}_{contrast}.nii.gz')
            nib.save(data.image(np.asarray(head.labels.dataobj) * 2, head.scan.affine), place / f'{end}_dseg.nii.gz')
    return folder


@pytest.mark.slow
def test_whoever_is_judged_is_not_trained_on(pairs, tmp_path, monkeypatch, capsys):
    recipe = dataclasses.replace(translation.TRAININGS['cut'], steps=2, width=2)
    monkeypatch.setattr(translation, 'TRAININGS', {'cut': recipe})
    quick = {name: PRESETS[name].at_resolution(8.0) for name in translation.AFTERWARDS.values()}
    monkeypatch.setattr(translation, 'PRESETS', quick)
    ran = []
    found = translation.register
    monkeypatch.setattr(
        translation, 'register', lambda *args, **more: ran.append((args[1], args[2])) or found(*args, **more)
    )
    words = [str(pairs), str(tmp_path), '--judged', '01-02', '--methods', 'affine', 'cut', 'cut+mind']
    translation.main(words)
    lines = capsys.readouterr().out.splitlines()
    rows = {row.split('|')[1].strip(): row.split('|')[2:] for row in lines[2:]}
    assert set(rows) == {'`affine`', '`cut`', '`cut+mind`'}
    assert all(rows[name][0].strip().startswith('2 / ') for name in ('`cut`', '`cut+mind`'))
    dice = [float(row.split('|')[4].split('(')[0]) for row in lines[2:]]
    assert dice == sorted(dice)  # the best one last
    # one translation, registered by two presets
    (image, by_lncc), (same, by_mind) = ran
    assert np.array_equal(image.data, same.data)
    assert (by_lncc, by_mind) == (quick['node-lncc-inter'], quick['node-mind-inter'])
    trained = (tmp_path / 'models' / 'scans.tsv').read_text()
    assert '03\tT1w' in trained
    assert '04\tT2w' in trained
    assert '01-02' not in trained
    assert '02-01' not in trained
    found = json.loads((tmp_path / 'results.json').read_text())['cut|01-02']
    assert 0 < found['mind'] < 1
    assert 0 < found['dice_mean'] <= 1
    # again: nothing is done, the same is said
    monkeypatch.setattr(translation, 'cell', None)
    translation.main(words)
    assert capsys.readouterr().out.splitlines() == lines


def test_trainings_are_of_known_methods_and_costs():
    assert set(translation.TRAININGS) == {'cyclegan', 'cut', 'cut-2000', 'not', 'not-mind', 'not-weak'}
    assert translation.TRAININGS['not-mind'].cost == 'mind'
    assert set(translation.AFTERWARDS.values()) <= set(PRESETS)
    assert {'cut+mind', 'cut-2000+mind', 'not-weak+mind'} < set(translation.METHODS)
    assert translation.training_of('not-mind+mind') == translation.training_of('not-mind') == 'not-mind'
    assert not any(map(translation.training_of, ('affine', 'node-mind-inter')))
    assert set(translation.PLAIN) <= set(PRESETS)
