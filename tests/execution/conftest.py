"""Fixtures of the app with pretended work."""

from tests.app_fixtures import app, raw, two_subjects

__all__ = ['app', 'raw', 'two_subjects']
