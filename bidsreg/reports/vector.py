"""Pictures in SVG that come from a folder: only those are shown that can do nothing but be seen."""

from __future__ import annotations

import re
from xml.etree import ElementTree

SVG = 'http://www.w3.org/2000/svg'
XLINK = 'http://www.w3.org/1999/xlink'
ELEMENTS = frozenset(
    [
        'svg',
        'g',
        'defs',
        'symbol',
        'use',
        'clipPath',
        'mask',
        'marker',
        'linearGradient',
        'radialGradient',
        'stop',
        'path',
        'rect',
        'circle',
        'ellipse',
        'line',
        'polyline',
        'polygon',
        'text',
        'tspan',
        'image',
        'pattern',
        'style',
        'title',
        'desc',
    ]
)
"""What a picture may consist of: nothing that runs, fetches, moves other elements or holds another document."""
_SAFE_ADDRESS = re.compile(r'#|data:image/(png|jpeg);base64,')
_UNSAFE_STYLE = re.compile(r'@import|expression|javascript:|url\(\s*["\']?(?!\s*["\']?#)|\\', re.IGNORECASE)

ElementTree.register_namespace('', SVG)
ElementTree.register_namespace('xlink', XLINK)


def plain_svg(text: str) -> str:
    """Return a picture as it may stand inside a page: written anew, without comments, metadata and declarations.

    Raises
    ------
    ValueError
        If it is no SVG, or has anything in it that may do more than be seen.
    """
    if '<!DOCTYPE' in text or '<!ENTITY' in text:
        raise ValueError('it declares entities')
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ValueError(f'it is no SVG ({error})') from error
    for parent in root.iter():
        for child in [child for child in parent if str(child.tag).endswith('}metadata')]:
            parent.remove(child)
    if root.tag != f'{{{SVG}}}svg':
        raise ValueError('it is no SVG')
    for element in root.iter():
        _check_element(element)
    return ElementTree.tostring(root, encoding='unicode')


def _check_element(element: ElementTree.Element) -> None:
    space, _, name = str(element.tag).removeprefix('{').partition('}')
    if space != SVG or name not in ELEMENTS:
        raise ValueError(f'it has an element {name or element.tag!r}')
    for key, value in element.attrib.items():
        plain = key.rpartition('}')[2].lower()
        if plain.startswith('on'):
            raise ValueError(f'it has an attribute {plain!r}')
        if plain in ('href', 'src') and not _SAFE_ADDRESS.match(value.strip()):
            raise ValueError('it refers to another file')
        if plain != 'href' and _UNSAFE_STYLE.search(value):
            raise ValueError(f'its attribute {plain!r} refers to another file')
    if name == 'style' and _UNSAFE_STYLE.search(element.text or ''):
        raise ValueError('its style refers to another file')
