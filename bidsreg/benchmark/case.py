"""A pair of a benchmark: two scans, and what is known about how they belong together."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

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
        A T1w and a T2w image, or those of other contrasts.
    fixed_labels, moving_labels : Path or None
        Label images on their grids.
    fixed_mask, moving_mask : Path or None
        Brain masks on their grids.
    points : Path or None
        Table of places that are the same: x, y, z in the world of the fixed image, then of the moving one, mm.
    fixed_subject, moving_subject : str or None
        Whose images they are.
    """

    #: Its images, and all its files by role.
    IMAGES: ClassVar[tuple[str, ...]] = ENDS
    ROLES: ClassVar[tuple[str, ...]] = (*REQUIRED, *OPTIONAL)

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

    @property
    def has_moving_brain(self) -> bool:
        """Tell whether the moving image's brain is found without the fixed one's."""
        return self.moving_mask is not None or self.moving_labels is not None

    @property
    def has_answer(self) -> bool:
        """Tell whether there is anything that a method can be judged by."""
        return self.has_labels or self.points is not None

    def files(self) -> dict[str, Path]:
        """Return all files by role."""
        return {name: path for name in self.ROLES if (path := getattr(self, name)) is not None}

    def identity(self) -> str:
        """Say which pair this is: its name and its files."""
        return ' '.join([self.name, *(f'{role}={path}' for role, path in self.files().items())])

    def fingerprint(self) -> list[str]:
        """Say which state of the pair this is: how large and how old its files are, too."""
        stats = [path.stat() for path in self.files().values()]
        return [self.identity(), *(f'{stat.st_size}:{stat.st_mtime_ns}' for stat in stats)]


@dataclass(frozen=True, kw_only=True)
class RescanCase(Case):
    """Two sessions of one person, the T1w of both the fixed and the moving image: maps between them should agree.

    Attributes
    ----------
    fixed_t2w, moving_t2w : Path
        The T2w of each session.
    fixed_t2w_mask, moving_t2w_mask : Path or None
        Brain masks on their grids.
    """

    IMAGES: ClassVar[tuple[str, ...]] = (*ENDS, 'fixed_t2w', 'moving_t2w')
    ROLES: ClassVar[tuple[str, ...]] = (*Case.ROLES, *IMAGES[2:], 'fixed_t2w_mask', 'moving_t2w_mask')

    fixed_t2w: Path
    moving_t2w: Path
    fixed_t2w_mask: Path | None = None
    moving_t2w_mask: Path | None = None

    @property
    def has_moving_brain(self) -> bool:
        """Tell that it is: both are T1w, whose brains are found alike."""
        return True

    @property
    def has_answer(self) -> bool:
        """Tell that its maps are judged by each other."""
        return True
