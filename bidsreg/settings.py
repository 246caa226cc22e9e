"""One frozen object with everything a run was asked to do, in TOML and out of it."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
import time
import tomllib
import types
import typing
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import tomli_w

from bidsreg import __version__
from bidsreg.errors import InputError

#: What a filter file's ``null`` (entity must be absent) and ``"*"`` (entity must be there) become.
NONE, ANY = '<none>', '*'

CHOICES: dict[str, tuple[str, ...]] = {
    'analysis_level': ('participant', 'group'),
    'pairing': ('session', 'subject'),
    'skull_strip': ('auto', 'force', 'skip'),
    'bias_correction': ('n4', 'none'),
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

_MEMORY_UNITS = {'': 1e-3, 'k': 1e-6, 'm': 1e-3, 'g': 1.0, 't': 1e3}


def cpu_count() -> int:
    """Count the CPUs this process may use (not those of the whole machine)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def new_run_uuid() -> str:
    """Make a name for this run that sorts by time and never repeats."""
    return f'{time.strftime("%Y%m%d-%H%M%S")}_{uuid.uuid4()}'


def parse_memory(text: str) -> float:
    """Read an amount of memory as GB.

    Parameters
    ----------
    text
        A number with an optional unit (``16GB``, ``1.5G``, ``800MB``, ``2TB``); a bare number is MB, as in fMRIPrep.

    Returns
    -------
    float
        The amount in GB (1 GB = 1000 MB).

    Raises
    ------
    InputError
        When it is not such a text, or not above zero.

    """
    match = re.fullmatch(r'\s*(\d+(?:\.\d*)?|\.\d+)\s*([kmgt]?)(?:i?b)?\s*', str(text).lower())
    if match is None or float(match[1]) <= 0:
        raise InputError(f'Cannot read {text!r} as an amount of memory: write for example 16GB or 1500MB.')
    return float(match[1]) * _MEMORY_UNITS[match[2]]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything one run was asked to do.

    Paths are made absolute, and every value is checked, when the object is made.

    Parameters
    ----------
    bids_dir, output_dir
        The raw dataset, and where the derivatives go.
    analysis_level
        ``participant`` (register and report), ``group`` (the page of the study), or both.
    participant_label, session_label
        Labels without ``sub-`` and ``ses-``; empty means all.
    bids_filters
        ``{'t1w': {entity: value}, 't2w': {...}}`` with pybids' entity names; :data:`NONE` and :data:`ANY` stand for
        an entity that must be absent or present.
    bids_database_dir
        Where pybids keeps its index between runs.
    pairing
        ``session``: only a T1w of the T2w's own session is used; ``subject``: a session without one takes the
        first of the subject.
    derivatives
        Folders in which brain masks of the user's own are looked for.
    skip_bids_validation
        Do not run the BIDS validator.
    method, working_resolution, sloppy, random_seed
        What ``bidsreg-pair`` is asked to do; the resolution is in mm, and only for the methods of this package.
    device
        ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    skull_strip, bias_correction
        ``auto``/``force``/``skip`` and ``n4``/``none``.
    qc_thresholds
        TOML file with thresholds of the verdict that differ from the package's own.
    work_dir
        Where intermediate files live.
    nprocs, omp_nthreads, mem_gb
        Processes at once, threads of one process, GB for all of them (``None``: what the machine has).
    use_plugin
        YAML file with a Nipype plugin.
    self_contained
        Put the pictures into the subjects' pages instead of linking to them.
    stop_on_first_crash, clean_workdir, reports_only, dry_run, write_graph, resource_monitor, verbose
        How to run.
    run_uuid
        Name of this run, under which its logs are kept.

    """

    bids_dir: Path
    output_dir: Path
    analysis_level: tuple[str, ...] = ('participant',)
    participant_label: tuple[str, ...] = ()
    session_label: tuple[str, ...] = ()
    bids_filters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    bids_database_dir: Path | None = None
    pairing: str = 'session'
    derivatives: tuple[Path, ...] = ()
    skip_bids_validation: bool = False
    method: str = 'node-mind'
    device: str = 'auto'
    working_resolution: float = WORKING_RESOLUTION
    sloppy: bool = False
    random_seed: int = 2026
    skull_strip: str = 'auto'
    bias_correction: str = 'n4'
    qc_thresholds: Path | None = None
    work_dir: Path = field(default_factory=lambda: Path('work'))
    nprocs: int = field(default_factory=cpu_count)
    omp_nthreads: int = 0
    mem_gb: float | None = None
    use_plugin: Path | None = None
    stop_on_first_crash: bool = False
    clean_workdir: bool = False
    reports_only: bool = False
    self_contained: bool = False
    dry_run: bool = False
    write_graph: bool = False
    resource_monitor: bool = False
    verbose: int = 0
    run_uuid: str = field(default_factory=new_run_uuid)

    def __post_init__(self) -> None:
        for item in fields(self):
            object.__setattr__(self, item.name, _coerce(item.name, getattr(self, item.name), _HINTS[item.name]))
        if self.omp_nthreads == 0:
            object.__setattr__(self, 'omp_nthreads', min(self.nprocs, 8))
        self._check_values()

    def _check_values(self) -> None:
        for name, known in CHOICES.items():
            given = getattr(self, name)
            for value in given if isinstance(given, tuple) else (given,):
                if value not in known:
                    raise InputError(f'{option(name)} {value!r}: choose from {", ".join(known)}.')
        if not re.fullmatch(r'auto|cpu|cuda(:\d+)?', self.device):
            raise InputError(f'--device {self.device!r}: choose from auto, cpu, cuda, cuda:N.')
        for name in ('nprocs', 'omp_nthreads', 'working_resolution', 'mem_gb'):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f'{option(name)} must be above zero, not {value}.')
        if self.random_seed < 0:
            raise InputError(f'--random-seed must not be negative: {self.random_seed}.')

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values that TOML and JSON can hold (what is ``None`` is left out)."""
        return {item.name: _plain(value) for item in fields(self) if (value := getattr(self, item.name)) is not None}

    def to_toml(self, path: str | os.PathLike) -> None:
        """Write all fields to a TOML file that ``--config-file`` reads."""
        text = f'# bidsreg {__version__}\n' + tomli_w.dumps(self.to_dict())
        Path(path).write_text(text, encoding='utf-8')

    @classmethod
    def from_toml(cls, path: str | os.PathLike) -> Settings:
        """Read what :meth:`to_toml` wrote."""
        return cls(**read_toml(path))

    def fingerprint(self) -> str:
        """Return a short hash of what changes results: the fields of :data:`RESULT_FIELDS` and our version."""
        values = {name: _plain(getattr(self, name)) for name in RESULT_FIELDS}
        values['device'] = self.device.partition(':')[0]  # which of two equal cards it was changes nothing
        text = json.dumps({**values, 'version': __version__}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_toml(path: str | os.PathLike) -> dict[str, Any]:
    """Read a configuration file into keyword arguments of :class:`Settings`.

    Raises
    ------
    InputError
        When the file is missing, is no TOML, or has a key that is not a setting.

    """
    try:
        values = tomllib.loads(Path(path).read_text(encoding='utf-8'))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f'Cannot read the configuration file {path}: {error}') from error
    known = [item.name for item in fields(Settings)]
    for key in values:
        if key not in known:
            raise InputError(f'{path}: there is no setting {key!r}.{suggestion(key, known)}')
    for name in values:
        values[name] = _coerce(name, values[name], _HINTS[name], where=f'{path}: ')
    return values


def suggestion(word: str, known: typing.Iterable[str]) -> str:
    """Return " Did you mean ...?" when a known word is close to this one, else the list of the known ones."""
    by_lower = {item.lower(): item for item in known}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1)
    return f' Did you mean {by_lower[close[0]]!r}?' if close else f' Known: {", ".join(by_lower.values())}.'


def option(name: str) -> str:
    """Return the spelling of a setting on the command line."""
    return {'mem_gb': '--mem'}.get(name, '--' + name.replace('_', '-'))


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _coerce(name: str, value: Any, hint: Any, where: str = '') -> Any:
    """Bring one value to the type of its field, strictly (a text is never taken for a number)."""
    arguments = typing.get_args(hint)
    if isinstance(hint, types.UnionType):  # X | None
        return None if value is None else _coerce(name, value, arguments[0], where)
    if typing.get_origin(hint) is tuple:
        if isinstance(value, str | Path) or not isinstance(value, typing.Iterable):
            value = (value,)
        return tuple(_coerce(name, item, arguments[0], where) for item in value)
    if typing.get_origin(hint) is Mapping:
        if isinstance(value, Mapping) and all(isinstance(item, Mapping) for item in value.values()):
            return {key: dict(item) for key, item in value.items()}
    elif hint is Path and isinstance(value, str | os.PathLike):
        return Path(os.path.abspath(os.path.expanduser(value)))
    elif hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif type(value) is hint:
        return value
    kind = getattr(hint, '__name__', str(hint))
    raise InputError(f'{where}{name} should be of type {kind}, not {value!r}.')


_HINTS = typing.get_type_hints(Settings)
