"""The formats of the table: Markdown to read, HTML to look at, LaTeX to put into a paper."""

from __future__ import annotations

import html
import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar

from bidsreg.benchmark.tables import Table, TableCell


class TableFormat(ABC):
    """One way to write a table.

    Attributes
    ----------
    extension : str
        How the file's name ends.
    """

    extension: ClassVar[str]

    @abstractmethod
    def __call__(self, table: Table) -> str:
        """Return the text of the file."""


class Markdown(TableFormat):
    """A table as GitHub and others show it."""

    extension = '.md'

    def __call__(self, table: Table) -> str:
        """Return the text of the file."""
        lines = [f'## {table.title}', '', self._line(map(TableCell, table.columns)), '|' + '---|' * len(table.columns)]
        for name, rows in table.groups:
            lines.append(self._line([TableCell(f'*{name}*'), *[TableCell('')] * (len(table.columns) - 1)]))
            lines += [self._line(row) for row in rows]
        return '\n'.join([*lines, '', *(f'- {note}' for note in (*table.notes, *table.failures)), ''])

    @staticmethod
    def _line(cells: Iterable[TableCell]) -> str:
        texts = [(cell.text.replace('|', r'\|'), cell.best) for cell in cells]
        return '| ' + ' | '.join(f'**{text}**' if best else text for text, best in texts) + ' |'


class Html(TableFormat):
    """A page of its own, readable offline."""

    extension = '.html'
    style = (
        'body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:90rem;padding:0 1rem;color:#111;'
        'background:#fff}div{overflow-x:auto}table{border-collapse:collapse;font-size:13px}'
        'th,td{padding:.2rem .45rem;text-align:right}td{white-space:nowrap}th{vertical-align:bottom}'
        'th:first-child,td:first-child{text-align:left;position:sticky;left:0;background:#fff}'
        'thead th{border-top:2px solid;border-bottom:1px solid}tbody th{border-top:1px solid;font-weight:600;'
        'font-style:italic;text-align:left}tbody:last-child tr:last-child td{border-bottom:2px solid}li{margin:.2rem 0}'
    )

    def __call__(self, table: Table) -> str:
        """Return the text of the file."""
        title, width = html.escape(table.title), len(table.columns)
        # an arrow does not stand alone on a line
        names = [re.sub(' (?=[↑↓])', '\N{NO-BREAK SPACE}', html.escape(name)) for name in table.columns]
        head = ''.join(f'<th scope="col">{name}</th>' for name in names)
        bodies = [
            f'<tbody><tr><th scope="rowgroup" colspan="{width}">{html.escape(name)}</th></tr>\n'
            + '\n'.join(f'<tr>{"".join(map(self._cell, row))}</tr>' for row in rows)
            + '</tbody>'
            for name, rows in table.groups
        ]
        notes = '\n'.join(f'<li>{html.escape(note)}</li>' for note in (*table.notes, *table.failures))
        return (
            f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
            f'<meta name="viewport" content="width=device-width"><style>{self.style}</style></head>\n<body>'
            f'<h1>{title}</h1>\n<div><table><thead><tr>{head}</tr></thead>\n' + '\n'.join(bodies) + '</table></div>\n'
            f'<ul>{notes}</ul></body></html>\n'
        )

    @staticmethod
    def _cell(cell: TableCell) -> str:
        text = html.escape(cell.text)
        return f'<td>{f"<strong>{text}</strong>" if cell.best else text}</td>'


class Latex(TableFormat):
    """A table for the package booktabs; one of many columns lies on its side, by the package rotating."""

    extension = '.tex'
    #: More columns than this are not legible across an upright page.
    upright = 7
    #: So many failures are listed; a page holds no more.
    failures = 3
    signs = str.maketrans({
        '\\': r'\textbackslash{}', '%': r'\%', '_': r'\_', '&': r'\&', '#': r'\#', '$': r'\$', '{': r'\{', '}': r'\}',
        '~': r'\textasciitilde{}', '^': r'\textasciicircum{}', '<': r'\textless{}', '>': r'\textgreater{}',
        '|': r'\textbar{}', '"': "''", '±': r'$\pm$', '↑': r'$\uparrow$', '↓': r'$\downarrow$', '≤': r'$\leq$',
        '–': r'\textendash{}',
    })  # fmt:skip
    #: What pdflatex can print without another package, beside ASCII and `signs`.
    letters = frozenset('äöüÄÖÜßéèêëÉÈÊáàâãåÁÀÂÃÅæÆøØœŒñÑçÇíìîïÍóòôõÓÔÕúùûÚłŁšŠžŽčČ‘’“”—…')

    def __call__(self, table: Table) -> str:
        """Return the text of the file."""
        width = len(table.columns)
        wide = width > self.upright
        kind = 'sidewaystable' if wide else 'table'
        begin, end = (r'\resizebox{\textwidth}{!}{%', r'\end{tabular}}') if wide else (r'\small', r'\end{tabular}')
        lines = [
            r'% needs \usepackage{booktabs}' + (r' and \usepackage{rotating}' if wide else ''),
            rf'\begin{{{kind}}}',
            r'\centering',
            r'\setlength{\tabcolsep}{3pt}',
            rf'\caption{{{self._text(table.title)}}}',
            begin,
            rf'\begin{{tabular}}{{l{"r" * (width - 1)}}}',
            r'\toprule',
            ' & '.join(map(self._heading, table.columns)) + r' \\',
        ]
        for name, rows in table.groups:
            lines += [r'\midrule', rf'\multicolumn{{{width}}}{{l}}{{\textit{{{self._text(name)}}}}} \\']
            lines += [' & '.join(map(self._cell, row)) + r' \\' for row in rows]
        lines += [r'\bottomrule', end, r'\par\smallskip\scriptsize\raggedright']
        lines += [self._text(note) for note in self._short(table)]
        return '\n'.join([*lines, rf'\end{{{kind}}}', ''])

    def _short(self, table: Table) -> list[str]:
        """Return the notes as sentences of one paragraph, failures only as far as there is room."""
        sentences = [f'{note.rstrip(".")}.' for note in (*table.notes, *table.failures[: self.failures])]
        more = len(table.failures) - self.failures
        return [*sentences, f'{more} more failed, see results.tsv.'] if more > 0 else sentences

    def _heading(self, text: str) -> str:
        """Set a long heading on two lines, so that numbers and not words decide how wide a column is."""
        middle = re.sub(r' (?=\(|of |≤|error|seconds)', '\n', text, count=1).split('\n')
        lines = r' \\ '.join(map(self._text, middle))
        return rf'\shortstack[r]{{{lines}}}' if len(middle) > 1 else lines

    def _text(self, text: str) -> str:
        plain = ''.join(map(self._printable, text)).replace('|J|', '\0').translate(self.signs)
        # two hyphens in a row would become a dash
        return re.sub('-(?=-)', '-{}', plain).replace('\0', r'$|J_\phi|$')

    def _printable(self, sign: str) -> str:
        if ord(sign) in self.signs or sign in self.letters or ' ' <= sign <= '~':
            return sign
        return unicodedata.normalize('NFKD', sign).encode('ascii', 'ignore').decode() or '?'

    def _cell(self, cell: TableCell) -> str:
        text = self._text(cell.text)
        return rf'\textbf{{{text}}}' if cell.best else text


#: Every format that a benchmark writes.
FORMATS: tuple[TableFormat, ...] = (Markdown(), Html(), Latex())
