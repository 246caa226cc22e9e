"""What the tests of the heart share: one thread, and a pair of small heads."""

import pytest
import torch

from tests import data
from tests.heart import solved


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope='session')
def pair():
    """A T1w and a T2w of one head with a known smooth deformation of up to 6 mm between them."""
    return data.pair(seed=1, known=data.truth(1, amplitude=6.0))


@pytest.fixture(scope='session')
def plain(pair):
    """The result of that pair with the quick settings; no test changes it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    result = solved(pair)
    torch.set_num_threads(before)
    return result
