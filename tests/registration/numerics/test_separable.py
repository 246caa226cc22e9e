"""Maps that act on one axis at a time."""

import numpy as np
import pytest
import torch
from scipy import ndimage as ndi

from bidsreg.registration.numerics import separable


def test_cubic_weights_reproduce_lines_and_smooth_functions():
    at = np.linspace(2, 17, 40)
    weights = separable.cubic_weights(at, 20)
    np.testing.assert_allclose(weights.sum(1), 1)
    np.testing.assert_allclose(weights @ (3 * np.arange(20) - 1), 3 * at - 1)
    np.testing.assert_allclose(weights @ np.sin(0.3 * np.arange(20)), np.sin(0.3 * at), atol=2e-3)


def test_gaussian_weights_are_symmetric_and_smooth_as_scipy():
    matrix = separable.gaussian_weights(30, 1.7)
    np.testing.assert_allclose(matrix, matrix.T)
    signal = np.random.default_rng(0).normal(size=30)
    np.testing.assert_allclose(
        matrix @ signal, ndi.gaussian_filter1d(signal, 1.7, mode='constant', truncate=8), atol=1e-9
    )


def test_separable_apply_is_three_matrix_products():
    rng = np.random.default_rng(1)
    volume = rng.normal(size=(2, 3, 4, 5, 6))
    matrices = [rng.normal(size=(m, n)) for m, n in ((7, 4), (3, 5), (2, 6))]
    ours = separable.apply(
        torch.as_tensor(volume), separable.to_tensors(matrices, torch.zeros((), dtype=torch.float64))
    )
    np.testing.assert_allclose(ours.numpy(), np.einsum('kcxyz,ax,by,dz->kcabd', volume, *matrices))


def test_large_volumes_and_narrow_bands_give_the_same_and_the_same_gradient(monkeypatch):
    volume = torch.randn(1, 2, 40, 48, 41, generator=torch.Generator().manual_seed(0))
    matrices = separable.to_tensors(
        [separable.cubic_weights(np.arange(0, n - 1, 0.5), n) for n in volume.shape[2:]], volume
    )
    answers = []
    for least in (1, 1 << 60):
        monkeypatch.setattr(separable, 'LARGE', least)
        leaf = volume.clone().requires_grad_()
        out = separable.apply(leaf, matrices)
        out.square().sum().backward()
        answers.append((out.detach(), leaf.grad))
    for banded, whole in zip(*answers, strict=True):
        torch.testing.assert_close(banded, whole, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize('threads', [1, 3])
def test_whole_matrices_give_the_same_in_threads(threads, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    volume = torch.randn(2, 2, 30, 31, 33, generator=generator)
    matrices = tuple(
        torch.randn(m, n, generator=generator) for m, n in zip((12, 40, 25), volume.shape[2:], strict=True)
    )
    whole = separable.apply(volume, matrices), separable.apply_transposed(separable.apply(volume, matrices), matrices)
    monkeypatch.setattr(separable, 'LARGE', 1)
    monkeypatch.setattr(separable, 'PART', 5000)
    monkeypatch.setattr(separable, 'spare_threads', lambda size: threads)
    found = separable.apply(volume.requires_grad_(), matrices)
    assert found.requires_grad
    found = found.detach()
    assert torch.equal(found, whole[0])
    assert torch.equal(separable.apply_transposed(found, matrices), whole[1])


def test_a_matrix_that_was_changed_is_not_taken_for_what_it_was(monkeypatch):
    monkeypatch.setattr(separable, 'LARGE', 1)
    volume = torch.ones(1, 1, 40, 40, 40)
    matrices = separable.to_tensors([np.eye(40)] * 3, volume)
    assert separable.apply(volume, matrices).max() == 1
    matrices[0].mul_(3)
    for transposed in (separable.apply, separable.apply_transposed):
        assert transposed(volume, matrices).max() == 3
