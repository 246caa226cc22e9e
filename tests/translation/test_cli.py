"""The command: its options, exit codes and last words."""

from __future__ import annotations

import json

import nibabel as nb
import pytest
from safetensors import SafetensorError

from bidsreg.errors import InputError
from bidsreg.translation import cli, recipes
from bidsreg.translation.cli import build_parser, main, settings_from
from bidsreg.translation.recipes import RECIPES

from .conftest import inside_of

FIT = ('--source', 'T2w', '--target', 'T1w', '--spacing', '8', '--bias-correction', 'none', '--device', 'cpu')


def given(*words):
    found = vars(build_parser().parse_args(['fit', 'IN', 'OUT', '--source', 'T2w', '--target', 'T1w', *words]))
    found.pop('command')
    return found


def test_options_reach_the_settings():
    words = '--method not --steps 7 --batch-size 3 --width 5 --learning-rate 0.01 --cost mind --seed 9 --every 2'
    found = settings_from(given(*words.split(), '--spacing', '3', '-d', 'A', 'B', '--threads', '2'))
    recipe = found.recipe
    assert (recipe.name, recipe.steps, recipe.batch_size, recipe.width) == ('not', 7, 3, 5)
    assert (recipe.learning_rate, recipe.cost) == (0.01, 'mind')
    assert (found.seed, found.every, found.spacing, found.threads) == (9, 2, 3.0, 2)
    assert [path.name for path in found.derivatives] == ['A', 'B']


def test_without_options_the_recipes_are_as_they_are():
    for name, recipe in RECIPES.items():
        assert settings_from(given('--method', name)).recipe == recipe


def test_what_a_method_has_no_use_for():
    with pytest.raises(InputError, match='--cost is not for cut'):
        settings_from(given('--method', 'cut', '--cost', 'mind'))
    with pytest.raises(InputError, match=r"--method cutt: there is no such method. Did you mean 'cut'"):
        settings_from(given('--method', 'cutt'))


def test_from_a_table_to_a_rewritten_scan(table, tmp_path, capsys):
    out = tmp_path / 'model'
    words = ('--method', 'cyclegan', '--steps', '2', '--width', '2', '--threads', '1', *FIT)
    assert main(['fit', str(table), str(out), *words]) == 0
    assert capsys.readouterr().out.strip() == str(out / 'model.safetensors')
    scan, mask = table.parent / '01_T2w.nii.gz', table.parent / '01_T2w_mask.nii.gz'
    there = tmp_path / 'new' / 'x.nii.gz'
    words = [str(scan), '-o', str(there), '--mask', str(mask), '--device', 'cpu', '--threads', '1']
    assert main(['apply', str(out), *words]) == 0
    assert 'MIND distance' in capsys.readouterr().err
    image = nb.load(there)
    assert image.shape == nb.load(scan).shape
    assert json.loads((tmp_path / 'new' / 'x.json').read_text())['Model']['Method'] == 'cyclegan'
    # without a mask it is not known where the brain is
    assert main(['apply', str(out), str(scan), '-o', str(there), '--device', 'cpu']) == 2
    assert 'Give a brain mask' in capsys.readouterr().err


def test_a_masked_scan_is_zero_outside(table, model_file, tmp_path, heads):
    out = tmp_path / 'x.nii'
    scan, mask = table.parent / '03_T2w.nii.gz', table.parent / '03_T2w_mask.nii.gz'
    assert main(['apply', str(model_file), str(scan), '-o', str(out), '--mask', str(mask), '--device', 'cpu']) == 0
    values = nb.load(out).get_fdata()
    inside = inside_of(heads['T2w']['03'])
    assert not values[~inside].any()
    assert values[inside].min() > 0


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (['fit', 'NOSUCH', 'OUT', '--method', 'cut', *FIT], 'NOSUCH is not there'),
        (['fit', 'NOSUCH', 'OUT', '--method', 'cut', *FIT, '--steps', '0'], '--steps must be above zero'),
        (['apply', 'NOSUCH', 'SCAN', '-o', 'x.nii'], 'NOSUCH is not there'),
        (['apply', 'NOSUCH', 'SCAN', '-o', 'x.png'], 'ends in .nii'),
        (['apply', 'NOSUCH', 'SCAN', '-o', 'x.nii', '--threads', '-1'], '--threads must not be negative'),
        (['apply', 'NOSUCH', 'SCAN', '-o', 'x.nii', '--device', 'cuda:77'], '--device cuda:77'),
    ],
)
def test_bad_input_ends_with_2(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    err = capsys.readouterr().err
    assert err.startswith('bidsreg-translate: error: ')
    assert said in err
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra_it_says_how_to_get_it(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(recipes.importlib.util, 'find_spec', lambda name: None)
    for words in (['fit', 'A', 'B', '--method', 'cut', *FIT], ['apply', 'A', 'B', '-o', 'x.nii']):
        assert main(words) == 2
        assert "pip install 'bidsreg[translation]'" in capsys.readouterr().err


def test_a_training_that_diverges_ends_with_1(table, tmp_path, monkeypatch, capsys):
    from bidsreg.translation.training import DivergedError

    def diverged(*_):
        raise DivergedError('it went to infinity')

    monkeypatch.setattr('bidsreg.translation.fit.fit', diverged)
    assert main(['fit', str(table), str(tmp_path / 'out'), '--method', 'cut', *FIT]) == 1
    assert 'failed: it went to infinity' in capsys.readouterr().err


def test_a_full_disk_ends_with_1_and_says_where(table, tmp_path, monkeypatch, capsys):
    def full(tensors, path, metadata):
        raise SafetensorError('Error while serializing: I/O error: No space left on device (os error 28)')

    monkeypatch.setattr('bidsreg.translation.tensorfiles.save_file', full)
    assert main(['fit', str(table), str(tmp_path / 'out'), '--method', 'cut', *FIT]) == 1
    said = capsys.readouterr().err
    assert str(tmp_path / 'out') in said
    assert 'No space left' in said
    assert 'the same command goes on' in said


def test_an_interruption_has_its_exit_code(table, tmp_path, monkeypatch):
    from bidsreg.execution.signals import Interrupted

    def interrupted(given):
        raise Interrupted(15)

    monkeypatch.setitem(cli._COMMANDS, 'fit', interrupted)
    assert main(['fit', str(table), str(tmp_path / 'out'), '--method', 'cut', *FIT]) == 143


def test_help_names_every_method(capsys):
    with pytest.raises(SystemExit):
        main(['fit', '--help'])
    said = capsys.readouterr().out
    assert all(name in said for name in RECIPES)
