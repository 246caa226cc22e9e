"""What a registration can end with instead of an answer."""

from __future__ import annotations


class RegistrationError(RuntimeError):
    """A registration was tried and gave nothing that could be kept."""


class FoldedError(RegistrationError):
    """Even the stiffest attempt gave a deformation that folds.

    Parameters
    ----------
    attempts : int
        How often it was solved.
    stiffer : float
        How many times as stiff as the one before each attempt was.
    folds : int
        Voxels that fold even so.
    """

    def __init__(self, attempts: int, stiffer: float, folds: int) -> None:
        super().__init__(
            f'after {attempts} attempts, each {stiffer:g} times as stiff, the deformation still folds at {folds} voxels'
        )
        self.attempts, self.stiffer, self.folds = attempts, stiffer, folds
