"""A program that fails is a registration that fails."""

import pytest

from bidsreg.programs import ProgramError
from bidsreg.registration import RegistrationError


def test_who_catches_failed_registrations_catches_programs_too():
    with pytest.raises(RegistrationError, match='it is on the moon'):
        raise ProgramError('it is on the moon')
