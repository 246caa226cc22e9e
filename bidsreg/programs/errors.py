"""The error that a program of somebody else can end with."""

from __future__ import annotations

from bidsreg.registration.errors import RegistrationError


class ProgramError(RegistrationError):
    """A program failed, or wrote what is no deformation of the pair."""
