"""What a registration can end with instead of an answer."""

from __future__ import annotations


class RegistrationError(RuntimeError):
    """A registration was tried and gave nothing that could be kept."""
