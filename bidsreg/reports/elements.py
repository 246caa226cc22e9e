"""The pieces of HTML that the pages are made of: numbers, tables, badges, boxes, frames."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any


def escape(value: Any) -> str:
    """Return a value as text that is safe inside HTML."""
    return html.escape(str(value))


def number(value: Any, digits: int = 3) -> str:
    """Return a number for people: with `digits` significant digits, or a dash where there is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return '–' if value is None or value != value else escape(value)
    if isinstance(value, int) or float(value).is_integer():
        return f'{value:.0f}'
    return f'{value:.{digits}g}' if abs(value) < 10**digits else f'{value:.0f}'


def table(
    rows: Iterable[Sequence[str]], header: Sequence[str] = (), caption: str = '', numeric: Sequence[int] = ()
) -> str:
    """Return an HTML table of cells that are HTML already; columns in `numeric` are set flush right."""

    def line(cells: Sequence[str], tag: str) -> str:
        return ''.join(
            f'<{tag}{" class=n" if place in numeric else ""}>{cell}</{tag}>' for place, cell in enumerate(cells)
        )

    body = ''.join(f'<tr>{line(row, "td")}</tr>\n' for row in rows)
    head = f'<thead><tr>{line(header, "th")}</tr></thead>\n' if header else ''
    title = f'<caption>{escape(caption)}</caption>\n' if caption else ''
    return f'<div class="wide"><table>\n{title}{head}<tbody>\n{body}</tbody></table></div>'


def badge(status: str) -> str:
    """Return a verdict as HTML, by its word, by a sign and by a colour."""
    return f'<b class="badge {escape(status)}">{escape(status)}</b>'


def note(text: str) -> str:
    """Return a quiet paragraph."""
    return f'<p class="note">{escape(text)}</p>'


def frame(picture: str) -> str:
    """Frame a picture (HTML) so that it can be moved about in a narrow window instead of becoming too small to read."""
    return f'<div class="figure" tabindex="0">{picture}</div>'


def box(kind: str, text: str) -> str:
    """Return a coloured box; `text` is HTML, `kind` is good, warn, bad or none."""
    return f'<div class="box {kind}">{text}</div>'
