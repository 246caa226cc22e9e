"""The printed table: what is in it, and what is bold."""

from __future__ import annotations

import numpy as np

from bidsreg.benchmark.methods import resolve_all
from bidsreg.benchmark.results import results_table
from bidsreg.benchmark.tables import PUBLISHED_GROUP, paper_table

from .conftest import METHODS, row_of


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


def test_where_no_preset_is_first_is_said_first(results):
    def lost(table):
        return [note for note in paper_table(table, METHODS, 'node-mind', title='T').notes if 'No preset' in note]

    assert not any('DSC' in note for note in lost(results))
    changed = results.copy()
    changed.loc[changed['method'] == 'ants-syn', 'dice_mean'] = 0.95
    (said,) = lost(changed)
    assert 'DSC (%) (ants-syn)' in said
    notes = paper_table(changed, METHODS, 'node-mind', title='T').notes
    assert notes[0] == said
    assert not any('No preset' in note for note in paper_table(changed, METHODS[:2], 'affine', title='T').notes)
