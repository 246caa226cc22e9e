"""Small heads on disk."""

from tests.scan_fixtures import heads, here, rigid_pair

__all__ = ['heads', 'here', 'rigid_pair']
