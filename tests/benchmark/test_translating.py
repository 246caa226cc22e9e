"""Trainings and translations of a benchmark: what the program is asked, what is told of it, and how it fails."""

from __future__ import annotations

import json
import subprocess

import nibabel as nb
import numpy as np
import pytest

from bidsreg.benchmark import translating
from bidsreg.benchmark.translating import FitTranslation, Translate, translate
from bidsreg.errors import InputError, ProcessKilledError
from bidsreg.translation.cli import build_parser, settings_from
from bidsreg.translation.sources import find_training_scans


@pytest.fixture
def files(heads, tmp_path):
    """Scans and masks of two heads, as many of them as are wanted."""
    heads[0].save(tmp_path / 'a')
    heads[1].save(tmp_path / 'b')
    return {
        'images': [str(tmp_path / 'a' / 'fixed.nii.gz'), str(tmp_path / 'b' / 'moving.nii.gz')],
        'masks': [str(tmp_path / 'a' / 'fixed_mask.nii.gz'), str(tmp_path / 'b' / 'moving_mask.nii.gz')],
        'contrasts': ['fixed', 'moving'],
        'heads': ['a', 'b'],
    }


@pytest.fixture
def asked(monkeypatch):
    """What the program was asked, instead of running it."""
    calls = []

    def pretend(words, threads):
        calls.append((list(words), threads))
        if words[0] == 'fit':
            from pathlib import Path

            out = Path(words[2])
            out.mkdir()
            (out / 'model.safetensors').touch()
            (out / 'fit.json').write_text(json.dumps({'cpu_seconds': 12.5}))

    monkeypatch.setattr(translating, 'translate', pretend)
    return calls


def test_a_training_reads_what_every_method_gets(files, asked, tmp_path):
    (tmp_path / 'node').mkdir()
    found = FitTranslation(method='not', seed=7, steps=9, threads=2, **files).run(cwd=tmp_path / 'node').outputs
    ((words, threads),) = asked
    given = vars(build_parser().parse_args(words))
    assert given.pop('command') == 'fit'
    settings = settings_from(given)
    assert (settings.source, settings.target, settings.bias_correction) == ('moving', 'fixed', 'none')
    assert (settings.recipe.name, settings.recipe.steps, settings.seed, threads) == ('not', 9, 7, 2)
    scans = find_training_scans(settings)
    assert [(scan.subject, scan.contrast, str(scan.image), str(scan.mask)) for scan in scans] == list(
        zip(*(files[name] for name in ('heads', 'contrasts', 'images', 'masks')), strict=True)
    )
    assert found.model == str(tmp_path / 'node' / 'model' / 'model.safetensors')
    assert found.cpu_seconds == 12.5


def test_without_a_number_of_steps_the_recipe_decides(files, asked, tmp_path):
    FitTranslation(method='cut', **files).run(cwd=tmp_path)
    assert '--steps' not in asked[0][0]
    (tmp_path / 'b2').mkdir()
    FitTranslation(method='cut', sloppy=True, **files).run(cwd=tmp_path / 'b2')
    assert asked[1][0][-6:] == list(translating.SLOPPY)


class Done:
    def __init__(self, code, words):
        self.returncode, self.stderr = code, words


@pytest.mark.parametrize(
    ('code', 'error', 'said'),
    [
        (2, InputError, r'fit failed \(return code 2\): .*no such scan'),
        (1, RuntimeError, r'fit failed \(return code 1\): .*no such scan'),
        (-9, ProcessKilledError, 'bidsreg-translate fit'),
    ],
)
def test_failures_have_their_last_words(monkeypatch, code, error, said):
    monkeypatch.setattr(
        subprocess, 'run', lambda *_, **__: Done(code, 'much\nbidsreg-translate: error: no such scan\n')
    )
    with pytest.raises(error, match=said):
        translate(['fit'], 1)


@pytest.mark.slow
def test_a_training_and_a_translation_for_real(heads, files, tmp_path):
    for what, path in (('images', 'b/fixed.nii.gz'), ('masks', 'b/fixed_mask.nii.gz')):
        files[what].append(str(tmp_path / path))
    files['contrasts'].append('fixed')
    files['heads'].append('b')
    (tmp_path / 'fit').mkdir()
    fitted = FitTranslation(method='not-weak', sloppy=True, **files).run(cwd=tmp_path / 'fit').outputs
    moving, mask = files['images'][1], files['masks'][1]
    given = {'model': fitted.model, 'in_file': moving, 'mask': mask, 'training_cpu_seconds': fitted.cpu_seconds}
    (tmp_path / 'apply').mkdir()
    found = Translate(**given).run(cwd=tmp_path / 'apply').outputs
    out = nb.load(found.out_file)
    np.testing.assert_array_equal(out.affine, nb.load(moving).affine)
    assert not out.get_fdata()[np.asarray(nb.load(mask).dataobj) == 0].any()
    assert set(found.facts) == {
        'training_cpu_seconds',
        'translation_seconds',
        'translation_cpu_seconds',
        'translation_mind',
    }
    assert found.facts['training_cpu_seconds'] == fitted.cpu_seconds > 0
    assert 0 < found.facts['translation_mind'] < 1
