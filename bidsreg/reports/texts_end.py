"""The end of the page of a subject: failures, and the methods to cite."""

from __future__ import annotations

import re
import typing
from collections.abc import Sequence

from markupsafe import Markup

from bidsreg.reports.elements import box, code, fill, join, link, table
from bidsreg.reports.record import PairRecord
from bidsreg.reports.texts_pair import anchor

if typing.TYPE_CHECKING:
    from bidsreg.settings import Settings


def error_section(record: PairRecord, settings: Settings) -> Markup:
    """Return what is known of the failure of a pair; nothing for one that did not fail."""
    if not record.failed and not record.crash:
        return Markup()
    parts = []
    if record.outcome:
        rows: list[tuple[str, str]] = [
            ('Step', code(record.outcome.step or '?')),
            ('Cause', record.outcome.message or '?'),
        ]
        if record.outcome.crash_file:
            path, out = record.outcome.crash_file, settings.output_dir
            shown = str(path.relative_to(out) if path.is_relative_to(out) else path)
            rows.append(('Crash file', code(shown)))
        parts.append(table(rows))
    if record.crash:
        shown = record.crash if len(record.crash) < 40000 else record.crash[:8000] + '\n[...]\n' + record.crash[-30000:]
        parts.append(fill('<details><summary>The whole message</summary><pre>{}</pre></details>', shown))
    return join('\n', parts)


def errors_section(records: Sequence[PairRecord]) -> Markup:
    """Return the list of links to what failed, or the word that nothing did."""
    failed = [record for record in records if record.failed or (record.crash and not record.complete)]
    rows = [
        (
            link(f'#{anchor(record)}', record.title),
            record.outcome.step if record.outcome else '?',
            record.outcome.message if record.outcome else 'see the message in its section',
        )
        for record in failed
    ]
    rows += [
        (link(f'#{anchor(record)}', f'{record.title}: ratio'), failure.step, failure.message)
        for record in records
        if (failure := record.ratio_failure)
    ]
    if not rows:
        return box('good', 'No errors.')
    return table(rows, ('Pair', 'Step', 'Cause'))


def methods_section(markdown: str) -> Markup:
    """Return the little Markdown of ``logs/CITATION.md`` as HTML, with a button that copies it.

    It knows headings, paragraphs and bullets; DOIs stay text.
    """
    parts: list[Markup] = []
    for block in re.split(r'\n\s*\n', markdown.strip()):
        lines = block.strip().splitlines()
        if not lines:
            continue
        if lines[0].startswith('#'):
            parts.append(fill('<h2>{}</h2>', lines[0].lstrip('# ')))
        elif lines[0].startswith('- '):
            items = re.split(r'^- ', block.strip(), flags=re.MULTILINE)[1:]
            listed = (fill('<li>{}</li>', ' '.join(item.split())) for item in items)
            parts.append(fill('<ul>{}</ul>', join('', listed)))
        else:
            parts.append(fill('<p>{}</p>', ' '.join(block.split())))
    copy = Markup('<button type="button" data-copy="methods-text">Copy the text</button>')
    return fill('{}\n<div id="methods-text">\n{}\n</div>', copy, join('\n', parts))
