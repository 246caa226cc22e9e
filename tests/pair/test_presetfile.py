"""Settings as text and in TOML: every field, strictly typed."""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from bidsreg.pair import presetfile
from bidsreg.registration.presets import PRESETS, Preset, preset

BASE = preset('node-mind')
FIELDS = [field.name for field in dataclasses.fields(Preset)]
#: Another value for some, so that not only defaults go round.
OTHER = dataclasses.replace(
    BASE,
    name='été 2',
    regularity=(('h1', 0.25), ('tv', 1e-3)),
    adjoint=True,
    levels=((6.0, 12), (2.5, 7)),
    patches=(2, 1, 0),
    loosened=(),
    tolerance=3e-7,
    time_steps=5,
)


def as_words(value):
    """A field's value as a person writes it on a command line."""
    if isinstance(value, tuple):
        return ','.join(':'.join(map(str, entry)) if isinstance(entry, tuple) else str(entry) for entry in value)
    return str(value).lower() if isinstance(value, bool) else str(value)


@pytest.mark.parametrize('chosen', [*PRESETS.values(), OTHER], ids=lambda p: p.name)
@pytest.mark.parametrize('field', FIELDS)
def test_every_field_of_every_preset_goes_round_as_text_and_in_toml(tmp_path, chosen, field):
    value = getattr(chosen, field)
    roomy = dataclasses.replace(BASE, levels=((4.0, 1),), loosened=())  # 300 iterations in all are left
    text = presetfile.updated(roomy, {field: as_words(value)})
    file = tmp_path / 'one.toml'
    file.write_text(tomli_w.dumps({field: value}), encoding='utf-8')
    for made in (text, presetfile.from_toml(file, roomy)):
        assert getattr(made, field) == value
        assert type(getattr(made, field)) is type(value)
        assert dataclasses.replace(made, **{field: getattr(roomy, field)}) == roomy  # and nothing else


@given(st.floats(1e-12, 1e12), st.lists(st.tuples(st.floats(0.1, 100), st.integers(1, 20)), min_size=1, max_size=8))
def test_numbers_keep_every_digit(rate, levels):
    levels.sort(reverse=True)  # levels go from coarse to fine
    made = presetfile.updated(BASE, {'learning_rate': repr(rate), 'levels': as_words(tuple(levels))})
    assert made.learning_rate == rate
    assert made.levels == tuple(levels)


def test_whole_numbers_are_numbers_and_spaces_do_not_matter(tmp_path):
    made = presetfile.updated(BASE, {'velocity_spacing': ' 3 ', 'levels': '4 : 40, 2:30 ', 'channels': ' 6'})
    assert (made.velocity_spacing, made.levels, made.channels) == (3.0, ((4.0, 40), (2.0, 30)), 6)
    assert [type(x) for x in made.levels[0]] == [float, int]
    file = tmp_path / 'a.toml'
    file.write_text('velocity_spacing = 3\nlevels = [[4, 40], [2.0, 30]]\n')
    made = presetfile.from_toml(file, BASE)
    assert (made.velocity_spacing, made.levels) == (3.0, ((4.0, 40), (2.0, 30)))
    assert [type(x) for x in (made.velocity_spacing, *made.levels[0])] == [float, float, int]


@pytest.mark.parametrize(
    ('field', 'text', 'words'),
    [
        ('levels', '4x40', r'levels: NUMBER:INTEGER,\.\.\. is needed'),
        ('levels', '4:40:3', 'levels: NUMBER:INTEGER'),
        ('levels', '4:40,', 'levels: NUMBER:INTEGER'),
        ('levels', '4:4.5', 'levels: NUMBER:INTEGER'),
        ('levels', '', 'levels: at least one entry'),
        ('patches', '1:1', r'patches: INTEGER,\.\.\. is needed'),
        ('patches', '1.5', 'patches: INTEGER'),
        ('patches', '', 'patches: at least one entry'),
        ('patches', '-1', 'patches: must not be negative'),
        ('levels', '4:0', 'levels: must be above zero'),
        ('levels', '4:200,2:101', '300 iterations'),
        ('regularity', 'h1', 'regularity: WORD:NUMBER'),
        ('regularity', ':1', 'regularity: WORD:NUMBER'),
        ('regularity', 'h1:-1', 'regularity: must not be negative, not -1'),
        ('adjoint', 'yes', 'adjoint: true or false'),
        ('adjoint', '1', 'adjoint: true or false'),
        ('channels', '5.0', 'channels: INTEGER'),
        ('channels', '0', 'channels: must be above zero, not 0'),
        ('learning_rate', 'fast', "learning_rate: NUMBER is needed, not 'fast'"),
        ('learning_rate', 'nan', 'learning_rate: NUMBER'),
        ('learning_rate', 'inf', 'learning_rate: NUMBER'),
        ('learning_rate', '', 'learning_rate: NUMBER'),
        ('learning_rate', '-0.1', 'learning_rate: must be above zero'),
        ('slope_tolerance', '-1', 'slope_tolerance: must not be negative'),
        ('similarity', ' ', 'similarity: WORD'),
    ],
)
def test_text_that_is_no_value_names_its_field(field, text, words):
    with pytest.raises(ValueError, match=words):
        presetfile.updated(BASE, {field: text})


@pytest.mark.parametrize(
    ('toml', 'words'),
    [
        ('learning_rate = "0.01"', "learning_rate: NUMBER is needed, not '0.01'"),
        ('learning_rate = true', 'learning_rate: NUMBER is needed, not True'),
        ('learning_rate = nan', 'learning_rate: NUMBER'),
        ('channels = 8.0', 'channels: INTEGER is needed, not 8.0'),
        ('channels = true', 'channels: INTEGER'),
        ('adjoint = 1', 'adjoint: true or false'),
        ('adjoint = "true"', 'adjoint: true or false'),
        ('similarity = 3', 'similarity: WORD'),
        ('levels = "4:40,2:30"', r'levels: \[\[NUMBER, INTEGER\], \.\.\.\] is needed'),
        ('patches = "1,0"', r'patches: \[INTEGER, \.\.\.\] is needed'),
        ('patches = 1', r'patches: \[INTEGER, \.\.\.\] is needed'),
        ('levels = [4, 40]', 'levels: '),
        ('levels = 4', 'levels: '),
        ('levels = [[4]]', 'levels: '),
        ('regularity = [["h1", "1"]]', r'regularity: \[\[WORD, NUMBER\]'),
        ('regularity = {h1 = 1.0}', r'regularity: \[\[WORD, NUMBER\]'),
        ('levels = []', 'levels: at least one'),
        ('[node]\nchannels = 8', "no field 'node'"),
        ('base = "node-mnid"', "unknown method 'node-mnid'"),
        ('base = ["node-mind"]', 'unknown method'),
        ('base = ', 'Invalid value'),
        ('learning_rate = 0.1\nlearning_rate = 0.2', 'Cannot overwrite'),
    ],
)
def test_toml_that_is_no_preset_names_file_and_field(tmp_path, toml, words):
    file = tmp_path / 'mine.toml'
    file.write_text(toml)
    with pytest.raises(ValueError, match=rf'mine\.toml: .*{words}'):
        presetfile.from_toml(file, BASE)


def test_files_that_cannot_be_read_say_so(tmp_path):
    with pytest.raises(ValueError, match=r'none\.toml: there is no such file'):
        presetfile.from_toml(tmp_path / 'none.toml', BASE)
    with pytest.raises(ValueError, match='directory'):
        presetfile.from_toml(tmp_path, BASE)
    (tmp_path / 'latin.toml').write_bytes(b'name = "\xe9t\xe9"')
    with pytest.raises(ValueError, match=r'latin\.toml: .*utf-8'):
        presetfile.from_toml(tmp_path / 'latin.toml', BASE)


@pytest.mark.parametrize(
    ('name', 'near'), [('levls', 'levels'), ('learning-rate', 'learning_rate'), ('regulariser', 'regularity')]
)
def test_an_unknown_field_suggests_the_one_that_was_meant(tmp_path, name, near):
    with pytest.raises(ValueError, match=f"no field '{name}'; did you mean '{near}'"):
        presetfile.updated(BASE, {name: '1'})
    (tmp_path / 'a.toml').write_text(f'{name} = 1')
    with pytest.raises(ValueError, match=f"no field '{name}'; did you mean '{near}'"):
        presetfile.from_toml(tmp_path / 'a.toml', BASE)


def test_a_field_like_no_other_gets_the_whole_list():
    with pytest.raises(ValueError, match='similarity, beside'):
        presetfile.updated(BASE, {'zzz': '1'})


def test_a_files_own_base_wins_over_the_one_given(tmp_path):
    file = tmp_path / 'a.toml'
    file.write_text('channels = 3\n')
    assert presetfile.from_toml(file, OTHER) == dataclasses.replace(OTHER, channels=3)
    file.write_text('base = "node-mind"\nchannels = 3\n')
    assert presetfile.from_toml(file, OTHER) == dataclasses.replace(BASE, channels=3)


def test_what_is_not_zero_is_a_field():
    assert set(presetfile.POSITIVE) | set(presetfile.MAY_BE_EMPTY) <= set(FIELDS)


def test_the_page_lists_every_field_once_and_its_example_is_a_preset(tmp_path):
    page = (Path(__file__).resolve().parents[2] / 'docs' / 'pair.md').read_text(encoding='utf-8')
    table = page[page.index('| field |') : page.index('## Other programs')]
    assert re.findall(r'^\| `(\w+)` \|', table, re.MULTILINE) == FIELDS
    (tmp_path / 'mine.toml').write_text(re.search(r'```toml\n(.*?)```', page, re.DOTALL)[1], encoding='utf-8')
    file = presetfile.from_toml(tmp_path / 'mine.toml', OTHER)
    words = dict(re.findall(r'--set (\w+)=(\S*)', page[page.index('## Settings') :]))
    assert words.keys() >= {'levels', 'regularity', 'learning_rate'}
    assert file == dataclasses.replace(presetfile.updated(BASE, words), loosened=())


def test_no_torch_is_needed_to_read_settings():
    code = 'import sys; import bidsreg.pair.presetfile, bidsreg.pair.cli; print("torch" in sys.modules)'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == 'False'
