"""What became of one pair (or of a subject that has none): the rows of the summary."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Status = Literal['done', 'already done', 'failed', 'locked', 'no pair']


@dataclass(frozen=True)
class Outcome:
    """The end of one pair, as the summary, the reports and the exit code tell it.

    Parameters
    ----------
    pair_name
        Name of the pair (empty where the subject has none).
    subject, session
        Labels without ``sub-`` and ``ses-``.
    status
        ``done`` in this run, ``already done`` by an earlier one, ``failed``, ``locked`` by another run,
        or ``no pair``.
    step
        Where it failed: the name of the node, or of the check.
    cause
        Why, in one line.
    crash_file
        Where the whole story is.

    """

    pair_name: str
    subject: str
    session: str | None
    status: Status
    step: str = ''
    cause: str = ''
    crash_file: Path | None = None

    @property
    def ok(self) -> bool:
        """Whether it allows exit code 0: a pair that another run still holds is not done."""
        return self.status not in ('failed', 'locked')
