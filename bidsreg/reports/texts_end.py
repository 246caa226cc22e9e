"""The end of the page of a subject: failures, and the methods to cite."""

from __future__ import annotations

import re
import typing
from collections.abc import Sequence

from bidsreg.reports.elements import box, escape, table
from bidsreg.reports.record import PairRecord
from bidsreg.reports.texts_pair import anchor

if typing.TYPE_CHECKING:
    from bidsreg.settings import Settings


def error_section(record: PairRecord, settings: Settings) -> str:
    """Return what is known of the failure of a pair; nothing for one that did not fail."""
    if not record.failed and not record.crash:
        return ''
    parts = []
    if record.outcome:
        rows = [
            ('Step', f'<code>{escape(record.outcome.step or "?")}</code>'),
            ('Cause', escape(record.outcome.message or '?')),
        ]
        if record.outcome.crash_file:
            path, out = record.outcome.crash_file, settings.output_dir
            shown = str(path.relative_to(out) if path.is_relative_to(out) else path)
            rows.append(('Crash file', f'<code>{escape(shown)}</code>'))
        parts.append(table(rows))
    if record.crash:
        shown = record.crash if len(record.crash) < 40000 else record.crash[:8000] + '\n[...]\n' + record.crash[-30000:]
        parts.append(f'<details><summary>The whole message</summary><pre>{escape(shown)}</pre></details>')
    return '\n'.join(parts)


def errors_section(records: Sequence[PairRecord]) -> str:
    """Return the list of links to what failed, or the word that nothing did."""
    failed = [record for record in records if record.failed or (record.crash and not record.complete)]
    if not failed:
        return box('good', 'No errors.')
    rows = [
        (
            f'<a href="#{anchor(record)}">{escape(record.title)}</a>',
            escape(record.outcome.step if record.outcome else '?'),
            escape(record.outcome.message if record.outcome else 'see the message in its section'),
        )
        for record in failed
    ]
    return table(rows, ('Pair', 'Step', 'Cause'))


def methods_section(markdown: str) -> str:
    """Return the little Markdown of ``logs/CITATION.md`` as HTML, with a button that copies it.

    It knows headings, paragraphs and bullets; DOIs stay text.
    """
    parts = []
    for block in re.split(r'\n\s*\n', markdown.strip()):
        lines = block.strip().splitlines()
        if not lines:
            continue
        if lines[0].startswith('#'):
            parts.append(f'<h2>{escape(lines[0].lstrip("# "))}</h2>')
        elif lines[0].startswith('- '):
            items = re.split(r'^- ', block.strip(), flags=re.MULTILINE)[1:]
            parts.append('<ul>' + ''.join(f'<li>{escape(" ".join(item.split()))}</li>' for item in items) + '</ul>')
        else:
            parts.append(f'<p>{escape(" ".join(block.split()))}</p>')
    copy = '<button type="button" data-copy="methods-text">Copy the text</button>'
    return '\n'.join([copy, '<div id="methods-text">', *parts, '</div>'])
