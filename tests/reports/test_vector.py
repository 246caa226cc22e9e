"""Pictures that are nothing but pictures are shown, others are not."""

from __future__ import annotations

import pytest

from bidsreg.reports import canvas, drawings
from bidsreg.reports.vector import plain_svg
from tests.reports.results import RESULT

HEAD = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 9 9">'


def svg(body: str) -> str:
    return f'{HEAD}{body}</svg>'


@pytest.mark.parametrize(
    'body',
    [
        '<script>1</script>',
        '<rect onclick="1"/>',
        '<rect OnLoad="1"/>',
        '<foreignObject><b xmlns="http://www.w3.org/1999/xhtml">x</b></foreignObject>',
        '<script xmlns="http://www.w3.org/1999/xhtml">1</script>',
        '<a href="https://x.org"><rect/></a>',
        '<image href="https://x.org/a.png"/>',
        '<image xlink:href=" javascript:1"/>',
        '<image href="data:image/svg+xml;base64,AA"/>',
        '<use href="other.svg#a"/>',
        '<animate attributeName="href" to="javascript:1"/>',
        '<set attributeName="onload" to="1"/>',
        '<style>@import "x.css";</style>',
        '<style>a { fill: url(http://x.org) }</style>',
        '<style>a { fill: u\\72l(http://x.org) }</style>',
        '<rect style="fill: url( &quot;//x.org&quot;)"/>',
        '<rect',
    ],
)
def test_what_may_do_more_than_be_seen_is_refused(body):
    with pytest.raises(ValueError, match=r'^it'):
        plain_svg(svg(body))


@pytest.mark.parametrize(
    'text',
    [
        '',
        'no xml',
        '<html xmlns="http://www.w3.org/1999/xhtml"/>',
        '<svg/>',
        f'<!DOCTYPE svg [<!ENTITY a "b">]>{HEAD}&a;</svg>',
    ],
)
def test_what_is_no_picture_is_refused(text):
    with pytest.raises(ValueError, match=r'^it'):
        plain_svg(text)


def test_what_html_reads_in_another_way_is_gone():
    """A comment, or text that XML keeps apart, ends elsewhere in HTML."""
    text = plain_svg(svg('<!--><img src=x onerror=1>--><title><![CDATA[><img src=x>]]></title><g/>'))
    assert '<img' not in text
    assert '<!' not in text
    assert '<g' in text


def test_pictures_of_ours_stay(tmp_path):
    style = 'rect:hover { opacity: 0; fill: url(#a) }'
    body = [
        '<defs><clipPath id="a"/></defs>',
        '<image href="data:image/jpeg;base64,AA=="/>',
        '<g clip-path="url(#a)"/>',
    ]
    ours = canvas.write_svg(tmp_path / 'a.svg', 9, body, 'a "title" & more', style).read_text()
    curve = drawings.loss_curve(RESULT, tmp_path / 'curve.svg').read_text()
    assert '<path' in plain_svg(curve)
    for kept in ('clip-path="url(#a)"', 'rect:hover', 'data:image/jpeg', 'viewBox', 'aria-label'):
        assert kept in plain_svg(ours)
