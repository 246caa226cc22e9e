"""Threads: what they share, and that no answer depends on how many there are."""

import pytest
import torch

from bidsreg.registration.numerics import separable
from bidsreg.registration.numerics.sampling import interpolate
from bidsreg.registration.numerics.threads import LARGE, in_threads, one_thread_an_operation, threads_given_back


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_threads_are_given_up_and_given_back_for_large_operations():
    with one_thread_an_operation() as before:
        assert (before, torch.get_num_threads()) == (3, 1)
        with threads_given_back(LARGE):
            assert torch.get_num_threads() == 3
        assert torch.get_num_threads() == 1
        with threads_given_back(LARGE - 1):
            assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3


def test_threads_of_a_pool_get_none_back():
    def seen(_):
        with threads_given_back(LARGE):
            return torch.get_num_threads()

    with one_thread_an_operation():
        assert in_threads(seen, range(4), 2) == [1] * 4


def test_threads_are_given_up_again_after_an_error():
    with one_thread_an_operation(), pytest.raises(ZeroDivisionError), threads_given_back(LARGE):
        raise ZeroDivisionError
    assert torch.get_num_threads() == 3
    with pytest.raises(ZeroDivisionError), one_thread_an_operation():
        raise ZeroDivisionError
    assert torch.get_num_threads() == 3


def dense(volume, matrices):
    x, y, z = matrices
    return torch.einsum('ai,bj,cl,kfijl->kfabc', x, y, z, volume)


def test_a_separable_map_is_the_product_with_three_matrices_and_so_is_its_gradient():
    generator = torch.Generator().manual_seed(0)
    volume = torch.randn(2, 3, 4, 5, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    matrices = [torch.randn(n, m, generator=generator, dtype=torch.float64) for n, m in ((7, 4), (3, 5), (6, 6))]
    found, expected = separable.apply(volume, matrices), dense(volume, matrices)
    torch.testing.assert_close(found, expected)
    upstream = torch.randn(found.shape, generator=generator, dtype=torch.float64)
    by_hand, by_torch = (torch.autograd.grad(out, volume, upstream)[0] for out in (found, expected))
    torch.testing.assert_close(by_hand, by_torch)
    torch.testing.assert_close(separable.apply_transposed(upstream, matrices), by_torch)
    with torch.no_grad():
        assert torch.equal(separable.apply(volume, matrices), found)


@pytest.mark.parametrize('shape', [(21, 25, 23), (75, 83, 71)])
def test_large_operations_give_the_same_bits_for_any_number_of_threads(shape, monkeypatch):
    for name in ('LARGE', 'EACH'):
        monkeypatch.setattr(f'bidsreg.registration.numerics.threads.{name}', 1)
    generator = torch.Generator().manual_seed(0)
    volume = torch.randn(1, 3, *shape, generator=generator)
    matrices = separable.to_tensors([separable.gaussian_weights(n, 1.7) for n in shape], volume)
    at = torch.rand(3, 40_000, 1, 1, generator=generator) * 20

    def answers(count):
        torch.set_num_threads(count)
        leaf = volume.clone().requires_grad_()
        places = at.clone().requires_grad_()
        with one_thread_an_operation():
            smooth = separable.apply(leaf, matrices)
            values = interpolate(smooth[0], places)
            return smooth, values, *torch.autograd.grad(values, (leaf, places), values.detach())

    one = answers(1)
    for count in (2, 3, 4):
        assert all(torch.equal(a, b) for a, b in zip(one, answers(count), strict=True))
