"""Fixtures of graphs."""

from tests.graph_fixtures import bids, fake_register, heads, quick_nipype

__all__ = ['bids', 'fake_register', 'heads', 'quick_nipype']
