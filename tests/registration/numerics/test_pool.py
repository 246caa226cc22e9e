"""Work in threads: the answers come in the order of the items, and errors are not lost."""

import threading

import pytest

from bidsreg.registration.numerics.pool import in_order


@pytest.mark.parametrize('threads', [1, 3])
def test_the_order_is_that_of_the_items(threads):
    assert list(in_order(lambda i: i * i, range(20), threads)) == [i * i for i in range(20)]


def test_threads_work_at_the_same_time():
    meet = threading.Barrier(3, timeout=30)
    assert sorted(in_order(lambda _: meet.wait(), range(3), 3)) == [0, 1, 2]


@pytest.mark.parametrize('threads', [1, 3])
def test_an_error_is_raised(threads):
    with pytest.raises(ZeroDivisionError):
        list(in_order(lambda i: 1 // i, [2, 1, 0], threads))
