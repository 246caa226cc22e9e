"""Numbers and pieces of HTML."""

import math

import pytest

from bidsreg.reports.elements import box, fill, number, table


@pytest.mark.parametrize(
    ('value', 'text'),
    [
        (None, '–'),
        (math.nan, '–'),
        (0.123456, '0.123'),
        (3.0, '3'),
        (12, '12'),
        (1234.56, '1235'),
        (True, 'True'),
        ('a <b>', 'a <b>'),
    ],
)
def test_numbers_are_for_people(value, text):
    assert number(value) == text


def test_a_table_sets_its_numbers_right_and_escapes_its_caption():
    text = table([('one', '1')], ('name', 'n'), 'a & b', numeric=(1,))
    assert '<td>one</td><td class=n>1</td>' in text
    assert '<th>name</th><th class=n>n</th>' in text
    assert '<caption>a &amp; b</caption>' in text
    assert '<thead>' not in table([('one',)])


def test_a_box_tells_its_kind():
    assert box('warn', fill('<b>{}</b>', 'x & y'), '<i>') == '<div class="box warn"><b>x &amp; y</b><br>&lt;i&gt;</div>'
