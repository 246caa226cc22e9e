"""A pair of a benchmark: two scans, and what is known about how they belong together."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

#: Files that every pair has, and those that it may have.
REQUIRED = ('fixed', 'moving')
OPTIONAL = ('fixed_labels', 'moving_labels', 'fixed_mask', 'moving_mask', 'points')
#: Both ends of a pair.
ENDS = ('fixed', 'moving')
#: What may be known of whose they are.
SUBJECTS = ('fixed_subject', 'moving_subject')


@dataclass(frozen=True, kw_only=True)
class Case:
    """One pair of a benchmark, with what is known about it.

    Attributes
    ----------
    name : str
        Name of the pair; no other pair has it.
    fixed, moving : Path
        A T1w and a T2w image.
    fixed_labels, moving_labels : Path or None
        Label images on their grids.
    fixed_mask, moving_mask : Path or None
        Brain masks on their grids.
    points : Path or None
        Table of places that are the same: x, y, z in the world of the fixed image, then of the moving one, mm.
    fixed_subject, moving_subject : str or None
        Whose images they are.
    """

    name: str
    fixed: Path
    moving: Path
    fixed_labels: Path | None = None
    moving_labels: Path | None = None
    fixed_mask: Path | None = None
    moving_mask: Path | None = None
    points: Path | None = None
    fixed_subject: str | None = None
    moving_subject: str | None = None

    @property
    def heads(self) -> dict[str, str]:
        """Return whose head each end shows; where that is not known, a file is a head of its own."""
        return {end: getattr(self, f'{end}_subject') or str(getattr(self, end)) for end in ENDS}

    @property
    def node_name(self) -> str:
        """Return the name as Nipype takes it for a node."""
        return 'pair_' + re.sub(r'\W', '_', self.name)

    @property
    def has_labels(self) -> bool:
        """Tell whether the overlap of labels can be measured."""
        return self.fixed_labels is not None and self.moving_labels is not None

    def files(self) -> dict[str, Path]:
        """Return all files by role."""
        return {name: path for name in (*REQUIRED, *OPTIONAL) if (path := getattr(self, name)) is not None}

    def identity(self) -> str:
        """Say which pair this is: its name and its files."""
        return ' '.join([self.name, *(f'{role}={path}' for role, path in self.files().items())])

    def fingerprint(self) -> list[str]:
        """Say which state of the pair this is: how large and how old its files are, too."""
        stats = [path.stat() for path in self.files().values()]
        return [self.identity(), *(f'{stat.st_size}:{stat.st_mtime_ns}' for stat in stats)]
