"""The printed table: what is in it, what is bold, and that each format says the same."""

from __future__ import annotations

import html.parser
import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

from bidsreg.benchmark.methods import resolve_all
from bidsreg.benchmark.results import COLUMNS, dictionary, results_table
from bidsreg.benchmark.tables import PUBLISHED_GROUP, Cell, Html, Latex, Markdown, Table, paper_table

METHODS = resolve_all(['affine', 'ants-syn', 'node-mind', 'node-ngf'], 'intra')
DICE = {'affine': 0.5, 'ants-syn': 0.6, 'node-mind': 0.8, 'node-ngf': 0.7}


@pytest.fixture
def results():
    cells = []
    for pair in range(6):
        for n, (method, dice) in enumerate(DICE.items()):
            cell = {'pair': f'p{pair}', 'method': method, 'status': 'done', 'dice_mean': dice + 0.01 * pair}
            cell |= {'folds': 3 * (method == 'ants-syn'), 'folds_percent': 0.0, 'sdlogj': 0.1 * n}
            cells.append(cell if method == 'affine' else cell | {'seconds': 10.0 * n})
    cells[-1] = {'pair': 'p5', 'method': 'node-ngf', 'status': 'failed', 'reason': 'out of 100 % memory_'}
    return results_table(cells)


def row_of(table, name):
    rows = {row[0].text: row for _, rows in table.groups for row in rows}
    return dict(zip(table.columns, rows[name], strict=True))


def test_mean_sd_and_best(results):
    table = paper_table(results, METHODS, 'node-mind', title='T')
    ours = row_of(table, 'node-mind')
    values = 100 * (0.8 + 0.01 * np.arange(6))
    assert ours['DSC (%) ↑'].text == f'{values.mean():.2f} ± {values.std(ddof=1):.2f}'
    assert ours['DSC (%) ↑'].best
    assert ours['p (DSC)'].text == 'reference'
    assert not row_of(table, 'ants-syn')['DSC (%) ↑'].best
    assert not row_of(table, 'ants-syn')['Sum |J| ≤ 0 ↓'].best
    assert row_of(table, 'node-mind')['Sum |J| ≤ 0 ↓'].best
    # none is better when all are equal, and the affine does not win by doing nothing
    assert not any(row[table.columns.index('% of |J| ≤ 0 ↓')].best for row in table.groups[0][1])
    assert row_of(table, 'ants-syn')['SDlogJ ↓'].best
    assert not row_of(table, 'affine')['SDlogJ ↓'].best
    assert row_of(table, 'affine')['Seconds ↓'].text == '–'


def test_groups_are_those_of_the_paper(results):
    table = paper_table(results, METHODS, 'node-mind', title='T')
    groups = {name: [row[0].text for row in rows] for name, rows in table.groups}
    assert groups['Baseline'] == ['affine', 'ants-syn']
    assert groups['NODE + similarity'] == ['node-mind', 'node-ngf']
    assert groups[PUBLISHED_GROUP][2] == 'NODE + MIND'


def test_the_papers_numbers(results):
    """From the paper's table, typed in again."""
    table = paper_table(results, METHODS, 'node-mind', title='T')
    paper = {
        'ANTs-SyN': '68.75 ± 2.55', 'NiftyReg': '70.93 ± 1.50', 'NODE + MIND': '75.64 ± 1.70',
        'NODE-LDDMM + MIND': '75.10 ± 2.11', 'NODE + Local MI': '70.49 ± 3.80',
        'NODE + Global MI': '44.90 ± 14.40', 'NODE + NGF': '72.40 ± 4.12',
    }  # fmt:skip
    assert {name: row_of(table, name)['DSC (%) ↑'].text for name in paper} == paper
    assert row_of(table, 'NODE + Global MI')['Sum |J| ≤ 0 ↓'].text == '0.00294'
    assert float(row_of(table, 'NODE + Global MI')['% of |J| ≤ 0 ↓'].text) == 1.01e-6
    assert row_of(table, 'NODE + MIND')['p (DSC)'].text == '–'


def test_p_values_and_failures(results):
    table = paper_table(results, METHODS, 'node-mind', title='T', notes=['by hand'])
    # six pairs, all worse: the smallest possible p is 2/64, of five pairs 2/32; Holm over three
    assert row_of(table, 'affine')['p (DSC)'].text == f'{3 * 2 / 64:.3g}'
    assert row_of(table, 'node-ngf')['p (DSC)'].text == f'{max(3 * 2 / 64, 2 / 32):.3g}'
    assert row_of(table, 'node-ngf')['Pairs'].text == '5/6'
    assert table.failures == ('failed: node-ngf on p5: out of 100 % memory_',)
    assert 'by hand' in table.notes
    assert any('too few to tell' in note for note in table.notes)


def test_without_the_reference_there_are_no_p_values(results):
    few = results[results['method'] != 'node-mind']
    table = paper_table(few, [m for m in METHODS if m.name != 'node-mind'], 'node-mind', title='T')
    assert not any(name.startswith('p (') for name in table.columns)
    assert all(len(row) == len(table.columns) for _, rows in table.groups for row in rows)


def test_points_alone_make_another_table():
    cells = [
        {'pair': f'p{n}', 'method': m, 'status': 'done', 'tre_mean': 1.0 + n - (m == 'node-mind')}
        for n in range(3) for m in ('affine', 'node-mind')
    ]  # fmt:skip
    chosen = resolve_all(['affine', 'node-mind'], 'intra')
    table = paper_table(results_table(cells), chosen, 'node-mind', title='T')
    assert table.columns[2:] == ('TRE (mm) ↓', 'p (TRE)')
    assert row_of(table, 'node-mind')['TRE (mm) ↓'].best
    assert [name for name, _ in table.groups] == ['Baseline', 'NODE + similarity']


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
    table = Table('T', ('Method',), (('G', ((Cell('m'),),)),), ('a note.',), tuple(f'failed: {n}' for n in range(9)))
    text = Latex()(table)
    assert 'a note.\nfailed: 0.\nfailed: 1.\nfailed: 2.\n6 more failed, see results.tsv.\n' in text
    assert Markdown()(table).count('failed: ') == 9


def test_a_method_that_never_worked_says_so():
    cells = [{'pair': f'p{n}', 'method': 'affine', 'status': 'done', 'dice_mean': 0.5} for n in range(2)]
    cells += [{'pair': f'p{n}', 'method': 'ants-syn', 'status': 'failed', 'reason': 'no'} for n in range(2)]
    table = paper_table(results_table(cells), METHODS[:2], 'node-mind', title='T')
    assert [cell.text for cell in table.groups[0][1][1]] == ['ants-syn', '0/2', 'failed']


def test_equal_numbers_have_no_spread():
    cells = [{'pair': f'p{n}', 'method': 'affine', 'status': 'done', 'dice_mean': 0.1 + 0.2} for n in range(3)]
    cells[0]['dice_mean'] = 0.3
    table = paper_table(results_table(cells), METHODS[:1], 'node-mind', title='T')
    assert row_of(table, 'affine')['DSC (%) ↑'].text == '30.00'


def test_every_column_is_described(results):
    described = dictionary()
    assert list(described) == list(results.columns)
    for key, entry in described.items():
        assert entry['LongName']
        assert entry['Description'].endswith('.')
        assert key in COLUMNS or entry['Units']


def test_results_keep_numbers_numbers():
    table = results_table([{'pair': 'a', 'method': 'affine', 'status': 'failed', 'reason': 'no'}])
    assert pd.api.types.is_numeric_dtype(table['dice_mean'])
    assert table['dice_mean'].isna().all()
