"""The file of a model: what it says, that it translates the same, and what is refused before anything is made by it."""

from __future__ import annotations

import json

import pytest
import torch

from bidsreg.errors import InputError
from bidsreg.translation.model import TranslationModel, untrained, write_model
from bidsreg.translation.recipes import RECIPES
from bidsreg.translation.tensorfiles import digest_of, read_tensors, write_tensors

from .conftest import SIZE, settings_for


@pytest.mark.parametrize('name', RECIPES)
def test_a_model_translates_as_what_was_trained(tmp_path, name):
    settings = settings_for(tmp_path, tmp_path, name)
    translator = untrained(settings)
    path = tmp_path / 'model.safetensors'
    write_model(path, translator.generator, settings, {'T1w': 2, 'T2w': 3})
    model = TranslationModel.load(path)
    assert (model.recipe, model.source, model.target) == (settings.recipe, 'T2w', 'T1w')
    assert (model.spacing, model.size, model.bias_correction) == (8.0, SIZE, 'none')
    assert model.digest == digest_of(path)
    assert model.header['heads'] == {'T1w': 2, 'T2w': 3}
    assert set(model.header['versions']) == {'bidsreg', 'torch', 'monai'}
    values, inside = torch.rand(2, 1, SIZE, SIZE), torch.ones(2, 1, SIZE, SIZE)
    with torch.no_grad():
        expected = type(translator).translate(translator.generator, settings.recipe, values, inside)
    assert torch.equal(model.translate(values, inside), expected)
    assert not model.translate(values, inside).requires_grad


def test_no_path_and_no_name_of_a_person_is_in_a_model(model_file, tmp_path):
    assert str(tmp_path).encode() not in model_file.read_bytes()


def test_the_same_seed_gives_the_same_networks(tmp_path):
    def weights(seed):
        torch.manual_seed(99)
        found = untrained(settings_for(tmp_path, tmp_path, seed=seed)).state_dict()
        return found, torch.rand(1)

    (one, after), (other, again), (else_, _) = weights(5), weights(5), weights(6)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not all(torch.equal(one[name], else_[name]) for name in one)
    assert torch.equal(after, again)  # the caller's random numbers go on as they were
    torch.manual_seed(99)
    assert torch.equal(after, torch.rand(1))


def rewritten(path, change):
    header, tensors = read_tensors(path, 'a model')
    change(header, tensors)
    write_tensors(path, tensors, header)


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (lambda h, t: h.update(kind='checkpoint'), "says that it is 'checkpoint'"),
        (lambda h, t: h.update(layout=2), 'has the layout 2'),
        (lambda h, t: h.update(recipe={'name': 'gan'}), "no method 'gan'"),
        (lambda h, t: h['recipe'].update(width=10**9), '--width must be at most'),
        (lambda h, t: h['recipe'].update(width=3), 'of shape'),
        (lambda h, t: h['recipe'].pop('width'), 'the settings of cut are'),
        (lambda h, t: h.update(spacing=1e-9), 'its spacing must lie between'),
        (lambda h, t: h.update(spacing=None), 'its spacing is None'),
        (lambda h, t: h.update(source=['T2w']), 'its source is'),
        (lambda h, t: h.update(bias_correction='x'), 'its bias correction'),
        (lambda h, t: t.pop('unet.final_conv.bias'), 'unet.final_conv.bias is missing'),
        (lambda h, t: t.update(more=torch.zeros(1)), 'more is unknown'),
        (lambda h, t: t.update({'unet.final_conv.bias': torch.tensor([float('inf')])}), 'not finite'),
    ],
)
def test_models_that_cannot_be_used(model_file, change, words):
    rewritten(model_file, change)
    with pytest.raises(InputError, match=words) as raised:
        TranslationModel.load(model_file)
    assert str(model_file) in str(raised.value)


def test_a_model_that_is_not_what_its_training_wrote_is_damaged(model_file):
    """A bit that turned gives numbers as finite as any."""
    marker = model_file.with_name('fit.json')
    marker.write_text(json.dumps({'done': True, 'model': f'sha256:{digest_of(model_file)}'}))
    TranslationModel.load(model_file)
    content = bytearray(model_file.read_bytes())
    content[-50] ^= 64
    model_file.write_bytes(content)
    with pytest.raises(InputError, match=r'is damaged: it is not what .*fit\.json says'):
        TranslationModel.load(model_file)
    marker.unlink()
    TranslationModel.load(model_file)
