"""One change at a time, judged like everything else."""

from __future__ import annotations

from dataclasses import replace

import ablation
import numpy as np
import pytest

from bidsreg.pair.methods import check_names


@pytest.mark.parametrize('name', ablation.VARIANTS)
def test_every_variant_names_what_there_is(name):
    check_names(ablation.VARIANTS[name])
    assert len(set(map(repr, ablation.VARIANTS.values()))) == len(ablation.VARIANTS)


@pytest.mark.slow
def test_a_variant_makes_a_row(datasets, capsys, monkeypatch):
    short = replace(ablation.BASE, levels=((8.0, 5),), patches=(0,))
    monkeypatch.setitem(ablation.VARIANTS, 'short', short)
    words = ['--resolution', '8', '--threads', '1', '--labels', str(datasets / 'labels.tsv')]
    ablation.main([str(datasets / 'people/a-b'), *words, '--only', 'short'])
    *_, line = capsys.readouterr().out.splitlines()
    name, dice, folds, sdlogj, seconds = line.strip('| ').split(' | ')
    assert name == 'short'
    assert 0.3 < float(dice) < 1
    assert folds == '0'
    assert 0 < float(sdlogj) < 0.5
    assert np.isfinite(float(seconds))
