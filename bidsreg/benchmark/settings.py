"""One frozen object with everything a benchmark was asked to do."""

from __future__ import annotations

import hashlib
import json
import re
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from bidsreg import __version__
from bidsreg.benchmark.labels import read_label_list
from bidsreg.errors import InputError
from bidsreg.settings import cpu_count

CHOICES = {
    'task': ('inter', 'intra'),
    'bias_correction': ('n4', 'none'),
    'prealign': ('affine', 'none'),
}
#: Pairs drawn between people unless told otherwise: all ordered pairs grow with the square of the subjects.
INTER_PAIRS = 20


@dataclass(frozen=True, kw_only=True)
class BenchmarkSettings:
    """Everything one benchmark was asked to do.

    Values are checked when the object is made.

    Attributes
    ----------
    input, output_dir : Path
        A BIDS dataset or a table of pairs; the folder for what comes out.
    methods : tuple of str
        Presets, programs, and ``affine``: no deformation.
    reference : str
        The method that the others are tested against.
    task : str
        ``inter``: the T1w of one subject and the T2w of another; ``intra``: T1w and T2w of one head.
    pairs, seed : int or None, int
        How many pairs to draw (``None``: see :meth:`wanted_pairs`), and the seed of the draw.
    labels : Path or None
        List of labels with names; ``None``: the 32 of SynthSeg.
    label_desc : str or None
        ``desc`` of the label images to take where a scan has several.
    derivatives : tuple of Path
        Where labels, masks and points are looked for; empty: ``derivatives/*`` of a BIDS dataset.
    bias_correction, prealign : str
        ``n4`` or ``none``; ``affine`` or ``none``.
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``cuda:N``, for the methods that can use a GPU.
    random_seed : int
        Of the prealignment and the methods.
    sloppy : bool
        Few iterations, for trying things out.
    skip_missing : bool
        Leave methods out whose program is not there, and say so, instead of refusing; those for comparisons only
        are always left out.
    work_dir : Path
        For intermediate files.
    nprocs, omp_nthreads, mem_gb, use_plugin
        Processes at once, threads of one process, GB for all of them, and a YAML file with a Nipype plugin.
    verbose : int
        How much to say.
    """

    input: Path
    output_dir: Path
    methods: tuple[str, ...]
    reference: str = 'node-mind'
    task: str = 'inter'
    pairs: int | None = None
    seed: int = 2026
    labels: Path | None = None
    label_desc: str | None = None
    derivatives: tuple[Path, ...] = ()
    bias_correction: str = 'n4'
    prealign: str = 'affine'
    device: str = 'auto'
    random_seed: int = 2026
    sloppy: bool = False
    skip_missing: bool = False
    work_dir: Path = field(default_factory=lambda: Path('work'))
    nprocs: int = field(default_factory=cpu_count)
    omp_nthreads: int = 0
    mem_gb: float | None = None
    use_plugin: Path | None = None
    verbose: int = 0

    # what the runner of graphs and its checks ask of any settings
    bids_database_dir: ClassVar[None] = None
    resource_monitor: ClassVar[bool] = False
    stop_on_first_crash: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for name in ('input', 'output_dir', 'work_dir', 'labels', 'use_plugin'):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, Path(value).expanduser().absolute())
        object.__setattr__(self, 'derivatives', tuple(Path(p).expanduser().absolute() for p in self.derivatives))
        object.__setattr__(self, 'methods', tuple(self.methods))
        if self.omp_nthreads == 0:
            object.__setattr__(self, 'omp_nthreads', min(self.nprocs, 8))
        self._check()

    def _check(self) -> None:
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise InputError(f'--{name.replace("_", "-")} {getattr(self, name)!r}: choose from {", ".join(known)}.')
        if not re.fullmatch(r'auto|cpu|cuda(:\d+)?', self.device):
            raise InputError(f'--device {self.device!r}: choose from auto, cpu, cuda, cuda:N.')
        for name in ('pairs', 'nprocs', 'omp_nthreads'):
            if (value := getattr(self, name)) is not None and value < 1:
                raise InputError(f'--{name.replace("_", "-")} must be at least 1, not {value}.')
        for name in ('seed', 'random_seed'):
            if getattr(self, name) < 0:
                raise InputError(f'--{name.replace("_", "-")} must not be negative: {getattr(self, name)}.')

    def wanted_pairs(self, there: int) -> int:
        """How many of the pairs that are there to take.

        Raises
        ------
        InputError
            If more were asked for than there are.
        """
        if self.pairs is None:
            return there if self.is_table or self.task == 'intra' else min(there, INTER_PAIRS)
        if self.pairs > there:
            raise InputError(f'--pairs {self.pairs}: there are only {there} pairs in {self.input}.')
        return self.pairs

    @property
    def is_table(self) -> bool:
        """Whether the input is a table of pairs, not a BIDS dataset."""
        return not self.input.is_dir()

    def identity(self, pairs: typing.Iterable[str]) -> dict[str, Any]:
        """What all results in one folder have in common: two benchmarks that differ in it cannot share a table.

        Parameters
        ----------
        pairs
            The pairs, see :meth:`bidsreg.benchmark.case.Case.identity`.
        """
        names = ('task', 'bias_correction', 'prealign', 'random_seed', 'sloppy')
        return {
            'version': __version__,
            'input': str(self.input),
            **{name: getattr(self, name) for name in names},
            'labels': {str(value): name for value, name in read_label_list(self.labels).items()},
            'pairs': list(pairs),
        }


def digest(value: Any) -> str:
    """Return a short hash of JSON-ready values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]
