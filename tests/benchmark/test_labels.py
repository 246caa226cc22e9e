"""Lists of labels: which count, and what they are called."""

from __future__ import annotations

import pytest

from bidsreg.benchmark.labels import by_structure, read_label_list, structure
from bidsreg.errors import InputError


def test_the_default_list_is_synthsegs():
    names = read_label_list()
    assert len(names) == 32
    assert names[17] == 'Left-Hippocampus'
    assert names[53] == 'Right-Hippocampus'
    lefts = [name.removeprefix('Left-') for name in names.values() if name.startswith('Left-')]
    rights = [name.removeprefix('Right-') for name in names.values() if name.startswith('Right-')]
    assert sorted(lefts) == sorted(rights)
    assert len(lefts) == 14


def test_a_tab_at_the_end_of_each_line_moves_no_label(tmp_path):
    (tmp_path / 'labels.tsv').write_text('index\tname\n3\tgrey\t\n9\twhite\t\n')
    assert read_label_list(tmp_path / 'labels.tsv') == {3: 'grey', 9: 'white'}


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('value\tname\n1\ta\n', "no column 'index'"),
        ('index\tname\n', 'whole numbers above zero'),
        ('index\tname\n0\tbackground\n', 'whole numbers above zero'),
        ('index\tname\n1.5\ta\n', 'whole numbers above zero'),
        ('index\tname\none\ta\n', 'whole numbers above zero'),
        ('index\tname\n1\ta\n1\tb\n', 'index 1 is listed twice'),
        ('index\tname\n1\ta\n01\tb\n', 'index 1 is listed twice'),
        ('index\tname\n1\ta\n2\ta\n', "name 'a' is listed twice"),
    ],
)
def test_bad_label_lists(tmp_path, text, message):
    (tmp_path / 'labels.tsv').write_text(text)
    with pytest.raises(InputError, match=message):
        read_label_list(tmp_path / 'labels.tsv')
    with pytest.raises(InputError, match='cannot be read'):
        read_label_list(tmp_path / 'none.tsv')


@pytest.mark.parametrize('name', ['Left-Amygdala', 'rh-Amygdala', 'Amygdala_L', 'Amygdala right'])
def test_sides_are_known(name):
    assert structure(name) == 'Amygdala'


def test_both_sides_are_one_structure():
    assert by_structure({17: 'Left-Hippocampus', 53: 'Right-Hippocampus', 16: 'Brain-Stem'}) == {
        17: 'Hippocampus', 53: 'Hippocampus', 16: 'Brain-Stem',
    }  # fmt:skip
    assert structure('left') == 'left'  # a name is never empty
