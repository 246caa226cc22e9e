"""Kernels and torch side by side."""

from __future__ import annotations

import kernels
import pytest

from bidsreg.registration.similarity import SIMILARITIES


def test_similarities_have_their_kernels_back():
    before = {name: kind.kernels for name, kind in SIMILARITIES.items()}
    with kernels.torch_alone():
        assert not any(kind.kernels for kind in SIMILARITIES.values())
    assert {name: kind.kernels for name, kind in SIMILARITIES.items()} == before


@pytest.mark.slow
def test_a_table_of_every_case_and_a_registration(datasets, capsys):
    pair = datasets / 'people/a-b'
    words = ['--spacing', '8', '--repeats', '1', '--column', '8', '8', '32', '--labels', str(datasets / 'labels.tsv')]
    kernels.main([str(pair), *words, '--register', 'node-mind-inter'])
    lines = capsys.readouterr().out.splitlines()
    rows = [line.strip('| ').split(' | ') for line in lines if line.startswith('| m')]
    assert [(name, int(radius)) for name, radius, *_ in rows] == kernels.CASES
    assert all(float(value) < 1e-4 and float(gradient) < 1e-2 for *_, value, gradient in rows)
    plain, compiled = (line.strip('| ').split(' | ') for line in lines[-2:])
    assert abs(float(plain[2].rstrip(' |')) - float(compiled[2])) < 0.02
