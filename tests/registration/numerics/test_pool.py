"""Work in threads: the answers come in the order of the items, and errors are not lost."""

import threading
import time

import pytest

from bidsreg.registration.numerics.pool import in_order, shared_out


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


@pytest.mark.parametrize('threads', [1, 2, 4])
def test_shared_out_work_comes_in_the_order_of_the_items(threads):
    for count in (0, 1, 2, 50):
        assert shared_out(lambda i: i * i, range(count), threads) == [i * i for i in range(count)]


def test_the_calling_thread_and_waiting_ones_work_at_the_same_time():
    meet = threading.Barrier(3, timeout=30)
    for _ in range(2):
        seen = shared_out(lambda _: (meet.wait(), threading.get_ident())[1], range(3), 3)
        assert len(set(seen)) == 3
        assert threading.get_ident() in seen


def test_shared_out_work_may_be_shared_out_again():
    """More than there are threads for: nobody waits for a thread that waits."""
    inner = [sum(range(i)) for i in range(6)]
    assert shared_out(lambda _: shared_out(lambda i: sum(range(i)), range(6), 3), range(9), 3) == [inner] * 9


@pytest.mark.parametrize('threads', [1, 3])
@pytest.mark.parametrize('culprit', [0, 5])
def test_an_error_of_shared_out_work_is_raised_and_ends_it(threads, culprit):
    done = []

    def work(i):
        if i == culprit:
            raise ZeroDivisionError
        done.append(i)
        time.sleep(0.01)

    with pytest.raises(ZeroDivisionError):
        shared_out(work, range(200), threads)
    assert len(done) < 100
