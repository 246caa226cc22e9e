"""What the options of bidsreg-pair make of a preset or a program, and what they hand to it."""

import dataclasses
import gc
import io
import subprocess
from importlib.metadata import PackageNotFoundError

import nibabel as nib
import numpy as np
import pytest

import bidsreg.registration
from bidsreg.pair import cli, methods
from bidsreg.pair.request import PairRequest
from bidsreg.registration import Deformation, Grid, Image, preset
from bidsreg.registration.events import LevelEnded, Repaired
from tests.fake_program import Pretended

GRID = Grid((9, 8, 7), np.diag([2.0, 2.0, 2.0, 1.0]))


class CalledError(Exception):
    """Register was called; with what."""


@pytest.fixture
def files(tmp_path):
    """Two images, masks of both, a matrix and an earlier result: paths by name."""
    rng = np.random.default_rng(0)
    paths = {name: tmp_path / f'{name}.nii.gz' for name in ('fixed', 'moving', 'mask', 'fixed_lesion', 'moving_lesion')}
    for name, path in paths.items():
        values = rng.uniform(size=GRID.shape)
        Image((values if name in ('fixed', 'moving') else values > 0.5).astype(np.float32), GRID).save(path)
    earlier = Deformation.from_affine(np.diag([1.0, 1.0, 1.25, 1.0]), GRID)
    paths |= {name: tmp_path / f'{name}.h5' for name in ('forward', 'inverse')}
    earlier.save(paths['forward'])
    earlier.inverted().save(paths['inverse'])
    paths['affine'] = tmp_path / 'affine.txt'
    np.savetxt(paths['affine'], np.diag([1.0, 1.0, 1.5, 1.0]))
    paths['toml'] = tmp_path / 'mine.toml'
    paths['out'] = tmp_path / 'out'
    return paths


@pytest.fixture
def called(files, monkeypatch):
    """Run the command line as far as `register`; its arguments by name."""

    def register(fixed, moving, method, **options):
        raise CalledError({'fixed': fixed, 'moving': moving, 'method': method, **options})

    monkeypatch.setitem(vars(bidsreg.registration), 'register', register)

    def run(*more):
        with pytest.raises(CalledError) as caught:
            cli.run(parsed(files, *more))
        return caught.value.args[0]

    return run


def parsed(files, *more):
    words = [files['fixed'], files['moving'], '--out', files['out'], '--device', 'cpu', *more]
    return PairRequest.from_arguments(cli.build_parser().parse_args([str(word) for word in words]))


@pytest.mark.parametrize('axes', ['LAS', 'PSR'])
def test_a_preset_gets_all_voxels_in_one_order(files, called, axes):
    names = ('fixed', 'moving', 'fixed_mask', 'moving_mask', 'fixed_lesion', 'moving_lesion')
    options = [f'--fixed-mask={files["mask"]}', f'--moving-mask={files["mask"]}']
    options += [f'--{side}-lesion={files[f"{side}_lesion"]}' for side in ('fixed', 'moving')]
    expected = called(*options)
    for path in (files[name] for name in ('fixed', 'moving', 'mask', 'fixed_lesion', 'moving_lesion')):
        image = nib.load(path)
        order = nib.orientations.ornt_transform(nib.io_orientation(image.affine), nib.orientations.axcodes2ornt(axes))
        nib.save(nib.as_closest_canonical(image).as_reoriented(order), path)
    found = called(*options)
    for name in names:
        np.testing.assert_array_equal(found[name].data, expected[name].data)
        np.testing.assert_allclose(found[name].grid.affine, expected[name].grid.affine, atol=1e-6)


def same(image, path):
    return isinstance(image, Image) and np.array_equal(image.data, Image.load(path).data)


def test_without_options_register_decides(called):
    given = called()
    assert given['method'] == preset('node-mind')
    assert set(given) == {'fixed', 'moving', 'method', 'affine', 'device', 'seed', 'callback'}
    np.testing.assert_allclose(given['affine'], np.eye(4), atol=1e-6)
    assert (given['device'], given['seed']) == ('cpu', 2026)


def test_garbage_is_looked_for_again_once_the_libraries_are_loaded(called):
    gc.disable()
    try:
        called()
        assert gc.isenabled()
    finally:
        gc.enable()
        gc.unfreeze()


def test_masks_and_lesions_reach_register_each_as_itself(called, files):
    more = ['--fixed-mask', files['mask'], '--fixed-lesion', files['fixed_lesion'], '--affine', files['affine']]
    given = called(*more, '--moving-lesion', files['moving_lesion'], '-q')
    assert same(given['fixed_mask'], files['mask'])
    assert same(given['fixed_lesion'], files['fixed_lesion'])
    assert same(given['moving_lesion'], files['moving_lesion'])
    np.testing.assert_allclose(given['affine'][:3, :3], np.diag([1, 1, 1.5]), atol=1e-6)  # about the grid's centre
    assert 'moving_mask' not in given
    assert 'start' not in given


@pytest.mark.parametrize(('quiet', 'lines'), [(False, 2), (True, 1)])
def test_quiet_leaves_only_warnings(quiet, lines):
    stream = io.StringIO()
    tell = methods.teller(stream, quiet)
    tell(LevelEnded(4.0, 1.0, 40, 40, False, 0))
    tell(Repaired(3))
    assert len(stream.getvalue().splitlines()) == lines


def test_an_earlier_result_reaches_register(called, files):
    given = called('--start', files['forward'], files['inverse'])
    assert isinstance(given['start'], Deformation)
    np.testing.assert_allclose(given['start'].affine[:3, :3], np.diag([1, 1, 1.25]))  # about the grid's centre
    assert given['start'].grid.same_as(given['fixed'].grid)
    assert 'affine' not in given


def test_settings_follow_method_then_file_then_words_then_resolution(called, files):
    files['toml'].write_text('levels = [[8, 9], [4, 7], [1, 5]]\nchannels = 3\nlearning_rate = 0.5\n')
    more = ['--set', 'learning_rate=0.25', '--preset-file', files['toml'], '--set', 'regularity=h1:2']
    expected = dataclasses.replace(
        preset('node-mind'), levels=((8.0, 9), (4.0, 7), (1.0, 5)), channels=3, learning_rate=0.25
    )
    expected = dataclasses.replace(expected, regularity=(('h1', 2.0),))
    assert called(*more)['method'] == expected
    assert called(*more, '--set', 'learning_rate=1')['method'].learning_rate == 1  # the last one counts
    assert called(*more, '--working-resolution', '3')['method'] == expected.at_resolution(3)
    assert called(*more, '--sloppy')['method'] == expected.sloppy()


@pytest.mark.parametrize(
    ('more', 'words'),
    [
        (['--set', 'learning_rate'], 'FIELD=VALUE is needed'),
        (['--affine', 'a.txt', '--start', 'f.h5', 'i.h5'], 'not allowed with'),
        (['--start', 'f.h5'], 'expected 2 arguments'),
        (['--method', 'nonsense'], 'node-mind'),
    ],
)
def test_options_that_cannot_be_together_or_lack_something(files, capsys, more, words):
    with pytest.raises(SystemExit) as stopped:
        parsed(files, *more)
    assert stopped.value.code == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ('setting', 'words', 'known'),
    [
        ('levls=4:40', "no field 'levls'; did you mean", "'levels'"),
        ('levels=4x40', 'levels: NUMBER:INTEGER', '4x40'),
        ('similarity=mnd', "similarity: there is no 'mnd'; known are ", 'mind'),
        ('velocity=curl', "velocity: there is no 'curl'; known are ", 'node'),
        ('regularity=h1:1,h7:2', "regularity: there is no 'h7'; known are ", 'h1'),
        ('solver=rk5', "solver: there is no 'rk5'; known are ", 'rk4'),
    ],
)
def test_bad_settings_are_refused_before_an_image_is_read(files, capsys, setting, words, known):
    for name in ('fixed', 'moving'):
        files[name].unlink()
    assert cli.main([str(files['fixed']), str(files['moving']), '--out', str(files['out']), '--set', setting]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert known in said.split(words)[1]
    assert not files['out'].exists()


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (['--working-resolution', '10'], '--working-resolution must lie between 0.1 and 8.0 mm, not 10'),
        (['--working-resolution', 'nan'], 'not nan'),
        (['--seed', '12345678901234567890123'], '--seed must lie between 0 and 2147483647'),
        (['--seed', '-1'], '--seed must lie'),
        (['--threads', '-3'], '--threads must be above zero, not -3'),
        (['--threads', '0'], '--threads must be above zero'),
    ],
)
def test_numbers_that_no_method_can_use_are_refused_before_an_image_is_read(files, capsys, words, said):
    for name in ('fixed', 'moving'):
        files[name].unlink()
    assert cli.main([str(files['fixed']), str(files['moving']), '--out', str(files['out']), *words]) == 2
    assert said in capsys.readouterr().err


def test_an_empty_path_is_refused(files, capsys):
    with pytest.raises(SystemExit):
        cli.main([str(files['fixed']), str(files['moving']), '--out', '', '--overwrite'])
    assert 'argument --out: a path is needed' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('toml', 'words'), [('channels = "many"', 'mine.toml: channels'), (None, 'mine.toml: there is no such file')]
)
def test_a_bad_preset_file_is_named(files, capsys, toml, words):
    if toml:
        files['toml'].write_text(toml)
    arguments = [files['fixed'], files['moving'], '--out', files['out'], '--preset-file', files['toml']]
    assert cli.main(list(map(str, arguments))) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ('more', 'words'),
    [
        (['--fixed-lesion', 'none.nii.gz'], 'none.nii.gz: there is no such file'),
        (['--start', 'none.h5', 'none.h5'], 'none.h5'),
        (['--start', 'inverse', 'forward'], 'not the forward and inverse transform'),
    ],
)
def test_files_that_are_not_what_was_asked_for_are_named(files, capsys, more, words):
    more = [str(files.get(word, word)) for word in more]
    assert cli.main([str(files['fixed']), str(files['moving']), '--out', str(files['out']), *more]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize('device', ['cuda:99', 'gpu', 'cuda:x'])
def test_a_device_that_is_not_there_is_an_error_not_the_cpu(device):
    with pytest.raises(ValueError, match='device'):
        methods.pick_device(device)


def test_a_quick_look(run, heads):
    program = Pretended(heads.displacement())
    _, told, _ = run('--sloppy', program=program)
    assert program.workspaces[0].sloppy
    assert told['settings']['depth'] == 1


@pytest.mark.parametrize(
    'words',
    [
        ['--set', 'channels=3'],
        ['--preset-file', 'x.toml'],
        ['--working-resolution', '2'],
    ],
)
def test_options_of_presets_are_refused_before_any_work(run, heads, words):
    program = Pretended(heads.displacement())
    code, told, said = run(*words, program=program)
    assert (code, told, program.workspaces) == (2, None, [])
    assert f'{words[0]} is for the presets only; pretended does not take it' in said


@pytest.mark.parametrize('end', ['fixed', 'moving'])
def test_a_program_that_cannot_leave_a_lesion_out_says_so_before_any_work(run, heads, end):
    program = Pretended(heads.displacement())
    code, told, said = run(f'--{end}-lesion', heads.paths[f'{end}_mask'], program=program)
    assert (code, told, program.workspaces) == (2, None, [])
    assert f'--{end}-lesion: pretended takes no mask of the {end} image, so it cannot leave a lesion there out' in said


def test_a_program_gets_a_lesion(run, heads, tmp_path):
    lesion = Image(heads.fixed_mask.data.copy(), heads.fixed.grid)
    lesion.data[18:] = 0
    lesion.save(tmp_path / 'lesion.nii')
    program = Pretended(heads.displacement())
    program.leaves_out = ('fixed', 'moving')
    code, told, _ = run('--fixed-lesion', tmp_path / 'lesion.nii', program=program)
    assert code == 0
    assert told['inputs']['fixed_lesion'] == str(tmp_path / 'lesion.nii')
    assert program.workspaces[0].masked


@pytest.mark.parametrize(
    'error', [subprocess.CalledProcessError(3, 'pretended'), PermissionError('locked'), PackageNotFoundError('greedy')]
)
def test_a_program_that_does_not_tell_its_version_is_refused_before_any_work(run, heads, monkeypatch, error):
    def version():
        raise error

    program = Pretended(heads.displacement())
    monkeypatch.setattr(program, 'version', version)
    code, told, said = run(program=program)
    assert (code, told, program.workspaces) == (2, None, [])
    assert '--method pretended: it does not tell its version' in said


@pytest.mark.parametrize(
    ('words', 'absent', 'said'),
    [
        ([], 'it is on the moon', '--method pretended: it is on the moon'),
        (['--device', 'cuda'], '', 'pretended works on the CPU only; use --device cpu, not cuda'),
        (['--fixed-mask', 'none.nii.gz'], '', 'none.nii.gz: there is no such file'),
    ],
)
def test_what_cannot_be_is_said_before_any_work(run, heads, words, absent, said):
    program = Pretended(heads.displacement())
    program.absent = absent
    code, told, heard = run(*words, program=program)
    assert (code, told, program.workspaces) == (2, None, [])
    assert said in heard


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (['--method', 'nodeo-mind', '--set', 'time_knots=3'], "time_knots: the velocity 'nodeo' has no use for it"),
        (['--set', 'kernel_alpha=3'], "kernel_alpha: the velocity 'node' has no use for it"),
        (['--set', 'velocity=grid', '--set', 'channels=4'], "channels: the velocity 'grid' has no use for it"),
        (['--method', 'nodeo-mind', '--set', 'adjoint=true'], "adjoint: the velocity 'nodeo' has gradients"),
    ],
)
def test_settings_that_nothing_reads_are_refused(files, capsys, words, said):
    assert cli.main([str(files['fixed']), str(files['moving']), '--out', str(files['out']), *words]) == 2
    assert said in capsys.readouterr().err
    assert not files['out'].exists()


def test_a_setting_of_a_regulariser_is_read_with_it(called):
    assert called('--set', 'regularity=v-norm:0.1', '--set', 'kernel_alpha=3')['method'].kernel_alpha == 3
