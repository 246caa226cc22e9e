"""What can be compared, and under which names."""

from __future__ import annotations

import pytest

from bidsreg.benchmark import methods
from bidsreg.benchmark.methods import note_on_forms, resolve, resolve_all, usable
from bidsreg.errors import InputError
from bidsreg.programs import PROGRAMS
from bidsreg.registration.presets import PRESETS
from bidsreg.translation.recipes import RECIPES


def test_between_people_presets_take_their_form_for_it():
    method = resolve('node-mind', 'inter')
    assert method.name == 'node-mind-inter'
    assert resolve('node-mind', 'intra').name == 'node-mind'
    assert resolve('node-mind-inter', 'inter').name == 'node-mind-inter'
    asked = resolve_all(['affine', 'node-mind', 'node-ngf'], 'inter')
    assert note_on_forms(asked) == ['Run in the form for two people, whose name ends in -inter: node-mind, node-ngf.']
    assert note_on_forms(resolve_all(['node-mind', 'node-mind-inter'], 'intra')) == []


def test_all_that_is_known_can_be_asked_for():
    names = methods.known_methods()
    assert {'affine', *PRESETS, *PROGRAMS} == set(names)
    for task in ('inter', 'intra'):
        assert all(resolve(name, task).name in names for name in names)


def test_unknown_methods_get_a_suggestion():
    with pytest.raises(InputError, match=r"--methods nodemind: there is no such method\. Did you mean 'node-mind'"):
        resolve('nodemind', 'inter')


def test_the_same_twice():
    with pytest.raises(InputError, match='affine: listed twice'):
        resolve_all(['affine', 'affine'], 'intra')
    with pytest.raises(InputError, match=r'node-mind-inter: listed twice \(the same as node-mind here\)'):
        resolve_all(['node-mind', 'node-mind-inter'], 'inter')
    assert len(resolve_all(['node-mind', 'node-mind-inter'], 'intra')) == 2
    with pytest.raises(InputError, match='name at least one'):
        resolve_all([], 'intra')


def test_a_missing_program_is_refused_or_left_out(monkeypatch):
    monkeypatch.setattr(type(PROGRAMS['niftyreg']), 'missing', lambda self: 'reg_f3d is not there; install it.')
    asked = resolve_all(['affine', 'niftyreg'], 'inter')
    with pytest.raises(InputError, match=r'niftyreg: reg_f3d is not there; install it. .*--skip-missing'):
        usable(asked, skip_missing=False)
    left, notes = usable(asked, skip_missing=True)
    assert [method.name for method in left] == ['affine']
    assert notes == ('Left out, as it cannot be run here: niftyreg: reg_f3d is not there; install it.',)
    with pytest.raises(InputError, match='None of the methods'):
        usable(resolve_all(['niftyreg'], 'inter'), skip_missing=True)


def test_what_is_for_comparisons_only_is_left_out_with_a_note(monkeypatch):
    for name in ('greedy', 'niftyreg'):
        monkeypatch.setattr(type(PROGRAMS[name]), 'missing', lambda self: f'{self.name} is not there.')
    left, notes = usable(resolve_all(['affine', 'greedy'], 'inter'), skip_missing=False)
    assert [method.name for method in left] == ['affine']
    assert notes == ('Left out, as it cannot be run here: greedy: greedy is not there.',)
    with pytest.raises(InputError, match=r'^niftyreg: niftyreg is not there\. Or leave'):
        usable(resolve_all(['affine', 'greedy', 'niftyreg'], 'inter'), skip_missing=False)


def test_programs_that_know_no_gpu_stay_on_the_cpu():
    assert resolve('ants-syn', 'inter').device('cuda') == 'cpu'
    assert resolve('node-mind', 'inter').device('cuda:1') == 'cuda:1'
    assert resolve('fireants', 'inter').device('cuda') == 'cuda'


def test_seconds_leave_out_what_is_ours():
    parts = {'load': 1.0, 'solve': 10.0, 'finish': 3.0, 'total': 14.0}
    assert methods.program_seconds('ants-syn', parts) == 10
    assert methods.program_seconds('node-mind', parts) == 13


def test_a_translation_has_a_preset_afterwards():
    for name, task, registers in (
        ('cut', 'inter', 'node-lncc-inter'),
        ('cut', 'intra', 'node-lncc'),
        ('not-weak+mind', 'inter', 'node-mind-inter'),
        ('cyclegan+mind', 'intra', 'node-mind'),
    ):
        method = resolve(name, task)
        assert (method.name, method.asked, method.registers) == (name, name, registers)
        assert method.translation == name.removesuffix('+mind')
        assert registers in PRESETS
        assert not method.is_ours
    assert resolve('node-mind', 'inter').registers == 'node-mind-inter'
    assert not resolve('node-mind', 'inter').translation
    assert set(methods.known_translations()) == {n + plus for n in RECIPES for plus in ('', '+mind')}
    with pytest.raises(InputError, match=r"cut\+ngf: there is no such method\. Did you mean 'cut\+mind'"):
        resolve('cut+ngf', 'inter')


def test_translations_are_left_out_with_a_note_where_their_packages_are_missing(monkeypatch):
    monkeypatch.setattr(methods, 'missing', lambda: 'the package monai is not installed')
    left, notes = usable(resolve_all(['affine', 'cut'], 'inter'), skip_missing=False)
    assert [method.name for method in left] == ['affine']
    assert notes == ('Left out, as it cannot be run here: cut: the package monai is not installed',)
