"""Fixtures of graphs and of the app with pretended work."""

from tests.app_fixtures import app, raw, two_subjects
from tests.graph_fixtures import bids, fake_register, heads, quick_nipype

__all__ = ['app', 'bids', 'fake_register', 'heads', 'quick_nipype', 'raw', 'two_subjects']
