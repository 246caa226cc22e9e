"""Each format of the table says the same, and LaTeX compiles."""

from __future__ import annotations

import html.parser
import re
import shutil
import subprocess

import pytest

from bidsreg.benchmark.formats import Html, Latex, Markdown
from bidsreg.benchmark.tables import Table, TableCell, paper_table

from .conftest import METHODS, row_of


def test_formats_say_the_same(results):
    table = paper_table(results, METHODS, 'node-mind', title='50 % of_them & more')
    markdown, page, latex = (form(table) for form in (Markdown(), Html(), Latex()))
    lines = [line for line in markdown.splitlines() if line.startswith('|')]
    assert len({len(re.findall(r'(?<!\\)\|', line)) for line in lines}) == 1  # |J| does not break the rows
    assert '| **82.50 ± 1.87** |' in markdown

    class Cells(html.parser.HTMLParser):
        def __init__(self):
            super().__init__()
            self.rows, self.title = [], ''

        def handle_starttag(self, tag, attrs):
            if tag == 'tr':
                self.rows.append([])
            if tag in ('td', 'th'):
                self.rows[-1].append('')

        def handle_data(self, text):
            if self.rows and self.rows[-1]:
                self.rows[-1][-1] += text.strip()

    seen = Cells()
    seen.feed(page)
    ours = next(row for row in seen.rows if row[0] == 'node-mind')
    assert ours == [cell.text for cell in row_of(table, 'node-mind').values()]
    assert '<strong>82.50 ± 1.87</strong>' in page
    assert '50 % of_them &amp; more' in page

    body = latex[latex.index(r'\midrule') : latex.index(r'\bottomrule')]
    rows = [line for line in body.splitlines() if line.endswith(r'\\') and 'multicolumn' not in line]
    assert {line.count(' & ') for line in rows} == {len(table.columns) - 1}
    assert r'\textbf{82.50 $\pm$ 1.87}' in latex
    assert r'\caption{50 \% of\_them \& more}' in latex
    assert r'out of 100 \% memory\_' in latex
    assert all('out of 100 % memory_' in text for text in (markdown, page))
    assert not re.search(r'[±↑↓≤–]', latex)
    assert latex.count('{') == latex.count('}')


LETTERS = ''.join(sorted(Latex.letters))

DOCUMENT = r"""\documentclass{article}
\usepackage{booktabs}
\usepackage{rotating}
\begin{document}
\input{table.tex}
\end{document}
"""


def compiled(table, folder):
    """What pdflatex says of a table; None where it is not installed."""
    if (
        shutil.which('pdflatex') is None
        or subprocess.run(['kpsewhich', 'booktabs.sty'], capture_output=True).returncode
    ):
        pytest.skip('pdflatex or its package booktabs is not installed')
    (folder / 'table.tex').write_text(Latex()(table), encoding='utf-8')
    (folder / 'document.tex').write_text(DOCUMENT)
    words = ['pdflatex', '-interaction=nonstopmode', '-halt-on-error', 'document.tex']
    for _ in range(2):  # a table on its side asks for a second look
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, errors='replace')
    assert done.returncode == 0, done.stdout[-2000:]
    return done.stdout


def test_latex_compiles(results, tmp_path):
    """A narrow table and one with every column, whatever letters a reason holds."""
    (tmp_path / 'narrow').mkdir()
    few = results[['pair', 'method', 'status', 'reason', 'dice_mean', 'hd95_mean', 'tre_mean', 'folds', 'seconds']]
    narrow = paper_table(few.reindex(columns=results.columns), METHODS, 'node-mind', title='50 % of_them & more')
    assert len(narrow.columns) <= Latex.upright
    said = compiled(narrow, tmp_path / 'narrow')
    assert not re.search('Warning|Overfull', said), said

    (tmp_path / 'wide').mkdir()
    numbers = results.select_dtypes('number').columns
    full = results.assign(**{name: results[name].fillna(1234.5) for name in numbers})
    full['reason'] = full['reason'].where(full['reason'].isna(), r'<α> | "x" \a~b^2 {c} $d#e → é ‘f’ --g 脳' + LETTERS)
    wide = paper_table(full, METHODS, 'node-mind', title='All')
    assert len(wide.columns) > Latex.upright
    said = compiled(wide, tmp_path / 'wide')
    assert not re.search('Warning|Overfull', said), said


def test_latex_tells_only_the_failures_for_which_there_is_room():
    table = Table(
        'T', ('Method',), (('G', ((TableCell('m'),),)),), ('a note.',), tuple(f'failed: {n}' for n in range(9))
    )
    text = Latex()(table)
    assert 'a note.\nfailed: 0.\nfailed: 1.\nfailed: 2.\n6 more failed, see results.tsv.\n' in text
    assert Markdown()(table).count('failed: ') == 9
