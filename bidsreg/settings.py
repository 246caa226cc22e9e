"""One frozen object with everything a run of the app was asked to do, in TOML and out of it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import tomli_w

from bidsreg import LARGEST_SEED, RESOLUTIONS, SEED, __version__
from bidsreg.errors import InputError
from bidsreg.execution.logs import new_run_uuid
from bidsreg.execution.settings import ExecutionSettings
from bidsreg.registration.atomic import write_text
from bidsreg.validation import check_choices, check_within, read_fields

#: What a filter file's ``null`` (entity must be absent) and ``"*"`` (entity must be there) become.
NONE, ANY = '<none>', '*'

#: The modalities that are registered to each reference unless others are asked for.
MODALITIES: Mapping[str, tuple[str, ...]] = {'T1w': ('T2w',), 'T2w': ('T1w',)}

CHOICES: dict[str, tuple[str, ...]] = {
    'analysis_level': ('participant', 'group'),
    'pairing': ('session', 'subject'),
    'reference': tuple(MODALITIES),
    'modalities': ('T1w', 'T2w', 'FLAIR', 'PDw', 'PD', 'T2starw', 'T2star', 'inplaneT2'),
    'skull_strip': ('auto', 'force', 'skip'),
    'bias_correction': ('n4', 'none'),
    'affine_formats': ('fsl', 'lta'),
    'ratio': ('none', 'uncalibrated', 'calibrated'),
}

#: The fields that change what comes out, and so decide whether an earlier result may be kept.
RESULT_FIELDS = (
    'method',
    'device',
    'working_resolution',
    'sloppy',
    'random_seed',
    'skull_strip',
    'bias_correction',
)

#: mm, unless told otherwise.
WORKING_RESOLUTION = 1.0


@dataclass(frozen=True, kw_only=True)
class Settings(ExecutionSettings):
    """Everything one run was asked to do; how its graphs are run is inherited.

    Paths are made absolute, and every value is checked, when the object is made.

    Parameters
    ----------
    bids_dir, output_dir
        The raw dataset, and where the derivatives go.
    analysis_level
        ``participant`` (register and report), ``group`` (the page of the study), or both.
    participant_label, session_label
        Labels without ``sub-`` and ``ses-``; empty means all.
    reference, modalities
        Suffix of the scans that stay fixed, ``T1w`` (and ``UNIT1``) or ``T2w``, and suffixes of those that are
        registered to them; by default the other one of these two.
    bids_filters
        ``{'t1w': {entity: value}, 't2w': {...}}`` with pybids' entity names; :data:`NONE` and :data:`ANY` stand for
        an entity that must be absent or present.
    bids_database_dir
        Where pybids keeps its index between runs.
    pairing
        ``session``: only a T1w of a scan's own session is used; ``subject``: a session without one takes that of
        the nearest.
    derivatives
        Folders in which brain masks of the user's own are looked for, of the T1w and of the others.
    skip_bids_validation
        Do not run the BIDS validator.
    method, working_resolution, sloppy, random_seed
        What ``bidsreg-pair`` is asked to do; the resolution is in mm, and only for the methods of this package.
    skull_strip, bias_correction
        ``auto``/``force``/``skip`` and ``n4``/``none``.
    affine_formats
        Formats in which the affine alone is written besides ITK's: ``fsl``, ``lta`` (FreeSurfer).
    ratio
        Which map of T1w by T2w is made of the pairs that have both: ``none``, ``uncalibrated`` or ``calibrated``.
    output_spaces
        Standard spaces to normalise every person to, in fMRIPrep's words (:func:`bidsreg.bids.spaces.parse_spaces`).
    templateflow_home
        The folder of TemplateFlow; by default that of the environment.
    qc_thresholds
        TOML file with thresholds of the verdict that differ from the package's own.
    self_contained
        Put the pictures into the subjects' pages instead of linking to them.
    clean_workdir, reports_only, dry_run, write_graph
        How to run.
    run_uuid
        Name of this run, under which its logs are kept.

    Raises
    ------
    InputError
        If a value is not of its type or out of its range.
    """

    bids_dir: Path
    output_dir: Path
    analysis_level: tuple[str, ...] = ('participant',)
    participant_label: tuple[str, ...] = ()
    session_label: tuple[str, ...] = ()
    reference: str = 'T1w'
    modalities: tuple[str, ...] = ()
    bids_filters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    bids_database_dir: Path | None = None
    pairing: str = 'session'
    derivatives: tuple[Path, ...] = ()
    skip_bids_validation: bool = False
    method: str = 'node-mind'
    working_resolution: float = WORKING_RESOLUTION
    sloppy: bool = False
    random_seed: int = SEED
    skull_strip: str = 'auto'
    bias_correction: str = 'n4'
    affine_formats: tuple[str, ...] = ()
    ratio: str = 'none'
    output_spaces: tuple[str, ...] = ()
    templateflow_home: Path | None = None
    qc_thresholds: Path | None = None
    clean_workdir: bool = False
    reports_only: bool = False
    self_contained: bool = False
    dry_run: bool = False
    write_graph: bool = False
    run_uuid: str = field(default_factory=new_run_uuid)

    def _check_values(self) -> None:
        check_choices(self, CHOICES)
        object.__setattr__(self, 'modalities', tuple(dict.fromkeys(self.modalities)) or MODALITIES[self.reference])
        for name, prefix in (('participant_label', 'sub-'), ('session_label', 'ses-')):
            labels = dict.fromkeys(label.removeprefix(prefix) for label in getattr(self, name))
            object.__setattr__(self, name, tuple(labels))
        if self.reference in self.modalities:
            raise InputError(
                f'--modalities {self.reference}: the {self.reference} is what the others are registered to '
                '(--reference); leave it out, or choose another reference.'
            )
        super()._check_values()
        check_within(self, 'working_resolution', *RESOLUTIONS)
        check_within(self, 'random_seed', 0, LARGEST_SEED)

    @property
    def contrasts(self) -> tuple[str, ...]:
        """Return the reference, then the modalities, each once."""
        return tuple(dict.fromkeys((self.reference, *self.modalities)))

    @property
    def log_dir(self) -> Path:
        """Return the folder with everything about this one run."""
        return self.output_dir / 'logs' / self.run_uuid

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values that TOML and JSON can hold (what is ``None`` is left out)."""
        return {item.name: _plain(value) for item in fields(self) if (value := getattr(self, item.name)) is not None}

    def to_toml(self, path: str | os.PathLike[str]) -> None:
        """Write all fields to a TOML file that ``--config-file`` reads."""
        text = f'# bidsreg {__version__}\n' + tomli_w.dumps(self.to_dict())
        write_text(Path(path), text)

    def fingerprint(self) -> str:
        """Return a short hash of what changes results: the fields of :data:`RESULT_FIELDS` and our version."""
        values = {name: _plain(getattr(self, name)) for name in RESULT_FIELDS}
        values['device'] = self.device.partition(':')[0]  # which of two equal cards it was changes nothing
        if self.reference != 'T1w':  # files of one name are of another making, and only then
            values['reference'] = self.reference
        text = json.dumps({**values, 'version': __version__}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a configuration file into keyword arguments of :class:`Settings`.

    Raises
    ------
    InputError
        When the file is missing, is no TOML, or has a key that is not a setting.
    """
    return read_fields(path, Settings)


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value
