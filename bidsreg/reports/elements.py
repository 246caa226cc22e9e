"""The pieces of HTML that the pages are made of: numbers, tables, badges, boxes, frames.

Here alone texts become HTML: whatever is no :class:`~markupsafe.Markup` is escaped, so that no text of a file is a tag.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from markupsafe import Markup
from markupsafe import escape as _escape


def escape(value: Any) -> Markup:
    """Return a value as text that is safe inside HTML, also between quotes; HTML stays as it is."""
    return _escape(value if isinstance(value, Markup) else str(value))


def fill(template: str, *values: Any) -> Markup:
    """Put values, each of which is escaped, into the places ``{}`` of HTML that stands in the code."""
    return Markup(template).format(*map(escape, values))


def join(between: str, parts: Iterable[Any]) -> Markup:
    """Return parts, each of which is escaped, with HTML that stands in the code between them."""
    return Markup(between).join(map(escape, parts))


def number(value: Any, digits: int = 3) -> str:
    """Return a number for people: with `digits` significant digits, or a dash where there is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return '–' if value is None or value != value else str(value)
    if isinstance(value, int) or float(value).is_integer():
        return f'{value:.0f}'
    return f'{value:.{digits}g}' if abs(value) < 10**digits else f'{value:.0f}'


def table(
    rows: Iterable[Sequence[str]], header: Sequence[str] = (), caption: str = '', numeric: Sequence[int] = ()
) -> Markup:
    """Return an HTML table; columns in `numeric` are set flush right."""

    def line(cells: Sequence[str], tag: str) -> Markup:
        return join(
            '',
            (
                fill(f'<{tag}{" class=n" if place in numeric else ""}>{{}}</{tag}>', content)
                for place, content in enumerate(cells)
            ),
        )

    body = join('', (fill('<tr>{}</tr>\n', line(row, 'td')) for row in rows))
    head = fill('<thead><tr>{}</tr></thead>\n', line(header, 'th')) if header else ''
    title = fill('<caption>{}</caption>\n', caption) if caption else ''
    return fill('<div class="wide"><table>\n{}{}<tbody>\n{}</tbody></table></div>', title, head, body)


def badge(status: str) -> Markup:
    """Return a verdict as HTML, by its word, by a sign and by a colour."""
    return fill('<b class="badge {}">{}</b>', status, status)


def note(text: str) -> Markup:
    """Return a quiet paragraph."""
    return fill('<p class="note">{}</p>', text)


def code(text: Any) -> Markup:
    """Return a text as names of files and steps are set."""
    return fill('<code>{}</code>', text)


def link(address: str, text: Any) -> Markup:
    """Return a link; the address is one of ours, quoted as an address."""
    return fill('<a href="{}">{}</a>', address, text)


def frame(picture: Markup) -> Markup:
    """Frame a picture so that it can be moved about in a narrow window instead of becoming too small to read."""
    return fill('<div class="figure" tabindex="0">{}</div>', picture)


def box(kind: str, *lines: Any) -> Markup:
    """Return a coloured box with lines; `kind` is good, warn, bad or none."""
    return fill('<div class="box {}">{}</div>', kind, join('<br>', lines))
