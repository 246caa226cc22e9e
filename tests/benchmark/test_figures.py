"""The figures show what the tables say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bidsreg.benchmark.figures import OKABE_ITO, WIDEST, against_cost, by_label_structure, by_method, styles
from bidsreg.benchmark.measures import CPU_SECONDS, DICE

METHODS = ['affine', 'ants-syn', 'node-mind']


@pytest.fixture
def done():
    rows = [
        {
            'pair': f'p{p}',
            'method': m,
            'dice_mean': 0.5 + 0.1 * n + 0.01 * p,
            'cpu_seconds': np.nan if n == 0 else 10.0**n,
        }
        for p in range(5)
        for n, m in enumerate(METHODS)
    ]
    return pd.DataFrame(rows)


def medians(axes):
    """Heights of the lines in the middle of boxes."""
    flat = [line for line in axes.lines if len(line.get_ydata()) == 2 and line.get_color() == 'black']
    return sorted({round(float(np.ptp(line.get_ydata())), 9) or float(line.get_ydata()[0]) for line in flat})


def test_boxes_are_at_the_medians(done):
    axes = by_method(done, DICE, METHODS).axes[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == METHODS
    for median in (52.0, 62.0, 72.0):
        assert any(np.isclose(median, value) for value in medians(axes))
    dots = [line for line in axes.lines if line.get_marker() == 'o']
    assert [len(line.get_xdata()) for line in dots] == [5, 5, 5]


def test_both_sides_share_a_box():
    names = {17: 'Left-Hippocampus', 53: 'Right-Hippocampus', 16: 'Brain-Stem'}
    rows = [
        {'pair': 'p', 'method': m, 'label': v, 'dice': 0.1 * n + 0.01 * v} for n, m in enumerate(METHODS) for v in names
    ]
    rows[-1]['dice'] = np.nan
    axes = by_label_structure(pd.DataFrame(rows), names, METHODS).axes[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ['Hippocampus', 'Brain-Stem']
    assert [text.get_text() for text in axes.figure.legends[0].get_texts()] == METHODS
    assert any(np.isclose(35.0, value) for value in medians(axes))  # of 17 and 53, without a method's offset


@pytest.mark.slow
def test_many_boxes_go_on_in_another_row():
    names = {n: f'Structure-{n:02d}' for n in range(1, 19)}
    methods = [f'm{n}' for n in range(16)]
    rows = [{'pair': 'p', 'method': m, 'label': v, 'dice': 0.5} for m in methods for v in names]
    figure = by_label_structure(pd.DataFrame(rows), names, methods)
    assert len(figure.axes) > 2
    assert figure.get_figwidth() <= WIDEST
    shown = [tick.get_text() for axes in figure.axes for tick in axes.get_xticklabels()]
    assert shown == list(names.values())
    assert len({axes.get_xlim() for axes in figure.axes}) == 1  # boxes are as wide in each row


def test_quality_is_drawn_at_its_cost(done):
    axes = against_cost(done, DICE, CPU_SECONDS, METHODS).axes[0]
    dots = {(float(line.get_xdata()[0]), round(float(line.get_ydata()[0]), 6)) for line in axes.lines[1:]}
    assert dots == {(10.0, 62.0), (100.0, 72.0)}
    assert [text.get_text() for text in axes.texts] == ['affine (no deformation)']
    assert [text.get_text() for text in axes.figure.legends[0].get_texts()] == ['ants-syn', 'node-mind']
    assert axes.get_xscale() == 'log'
    assert axes.get_xlabel() == 'CPU seconds (median over pairs)'


def test_methods_look_different():
    many = styles([f'm{n}' for n in range(20)])
    assert len({(style.colour, style.hatch) for style in many.values()}) == 20
    assert len({(style.colour, style.marker) for style in many.values()}) == 20
    assert len(set(OKABE_ITO)) == 8


def test_a_name_with_two_dollars_is_no_formula():
    """As one it would cost all figures, at the end of the work."""
    labels = pd.DataFrame([{'pair': 'p', 'method': m, 'label': 1, 'dice': 0.5} for m in METHODS])
    figure = by_label_structure(labels, {1: r'$\nosuch$ cortex'}, METHODS)
    figure.draw_without_rendering()
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == [r'$\nosuch$ cortex']
