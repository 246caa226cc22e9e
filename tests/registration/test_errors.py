"""What a registration can end with says what it knows."""

from bidsreg.registration import FoldedError, RegistrationError


def test_a_folded_result_tells_how_often_and_how_stiff():
    error = FoldedError(3, 4.0, 17)
    assert isinstance(error, RegistrationError)
    assert (error.attempts, error.stiffer, error.folds) == (3, 4.0, 17)
    assert 'after 3 attempts, each 4 times as stiff' in str(error)
    assert 'folds at 17 voxels' in str(error)
