"""One frozen object with everything a benchmark was asked to do."""

from __future__ import annotations

import hashlib
import json
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bidsreg import LARGEST_SEED, SEED, __version__
from bidsreg.benchmark.folds import FOLDS
from bidsreg.benchmark.labelling import LABELLERS
from bidsreg.benchmark.labels import read_label_list
from bidsreg.benchmark.tasks import TASKS
from bidsreg.bids.names import T2W_TO_T1W, Contrasts
from bidsreg.errors import InputError
from bidsreg.execution.settings import ExecutionSettings
from bidsreg.settings import CHOICES as APP_CHOICES
from bidsreg.settings import MODALITIES
from bidsreg.validation import check_choices, check_positive, check_within

CHOICES: dict[str, tuple[str, ...]] = {
    'contrasts': APP_CHOICES['modalities'],
    'task': tuple(TASKS),
    'bias_correction': ('n4', 'none'),
    'prealign': ('affine', 'none'),
    'label_with': ('none', *LABELLERS),
}
#: Pairs drawn between people unless told otherwise: all ordered pairs grow with the square of the subjects.
INTER_PAIRS = 20


@dataclass(frozen=True, kw_only=True)
class BenchmarkSettings(ExecutionSettings):
    """Everything one benchmark was asked to do; how its graph is run is inherited.

    Values are checked when the object is made.

    Attributes
    ----------
    input, output_dir : Path
        A BIDS dataset or a table of pairs; the folder for what comes out.
    methods : tuple of str
        Presets, programs, and ``affine``: no deformation.
    reference : str
        The method that the others are tested against.
    contrasts : tuple of two str
        Of the fixed and of the moving scan of every pair: suffixes of BIDS. Of a table they are what texts call them.
    task : str
        ``inter``: the fixed scan of one subject and the moving one of another; ``intra``: both of one head; ``rescan``:
        T1w and T2w of two sessions, which need no labels.
    pairs, seed : int or None, int
        How many pairs to draw (``None``: see :meth:`wanted_pairs`), and the seed of the draw.
    labels : Path or None
        List of labels with names; ``None``: the 32 of SynthSeg.
    label_desc : str or None
        ``desc`` of the label images to take where a scan has several.
    label_with : str
        What labels scans that have none, see :mod:`bidsreg.benchmark.labelling`; ``none``: labels are files.
    derivatives : tuple of Path
        Where labels, masks and points are looked for; empty: ``derivatives/*`` of a BIDS dataset.
    bias_correction, prealign : str
        ``n4`` or ``none``; ``affine`` or ``none``.
    random_seed : int
        Of the prealignment and the methods.
    sloppy : bool
        Few iterations, for trying things out.
    skip_missing : bool
        Leave methods out whose program is not there, and say so, instead of refusing; those for comparisons only
        are always left out.
    folds : int
        Groups of heads that translations are trained in turn without.
    translation_steps : int or None
        Steps of their training (``None``: those of the recipe).

    Raises
    ------
    InputError
        If a value is not of its type or out of its range.
    """

    input: Path
    output_dir: Path
    methods: tuple[str, ...]
    reference: str = 'node-mind'
    contrasts: tuple[str, str] = ('T1w', 'T2w')
    task: str = 'inter'
    pairs: int | None = None
    seed: int = SEED
    labels: Path | None = None
    label_desc: str | None = None
    label_with: str = 'none'
    derivatives: tuple[Path, ...] = ()
    bias_correction: str = 'n4'
    prealign: str = 'affine'
    random_seed: int = SEED
    sloppy: bool = False
    skip_missing: bool = False
    folds: int = FOLDS
    translation_steps: int | None = None

    def _check_values(self) -> None:
        check_choices(self, CHOICES)
        super()._check_values()
        if self.pairs is not None and self.pairs < 1:
            raise InputError(f'--pairs must be at least 1, not {self.pairs}.')
        for name in ('seed', 'random_seed'):
            check_within(self, name, 0, LARGEST_SEED)
        check_positive(self, ('translation_steps',))
        if self.folds < 2:
            raise InputError(f'--folds must be at least 2, not {self.folds}.')
        self._check_contrasts()
        if self.makes_labels:
            self._check_labelling()
        if TASKS[self.task].is_rescan:
            self._check_rescan()

    def _check_contrasts(self) -> None:
        if self.is_table:
            return
        given = f'--contrasts {" ".join(self.contrasts)}'
        if self.contrasts[0] not in MODALITIES:
            raise InputError(
                f'{given}: in a BIDS dataset scans are registered to a {" or a ".join(MODALITIES)}, which comes first; '
                'a table of pairs takes any two.'
            )
        if self.contrasts[0] == self.contrasts[1]:
            if not TASKS[self.task].between_people:
                raise InputError(f'{given}: of a BIDS dataset only --task inter compares two scans of one contrast.')
            if self.makes_labels:
                raise InputError(f'{given}: --label-with {self.label_with} wants two contrasts.')

    def _check_labelling(self) -> None:
        for option, given in (('--labels', self.labels), ('--label-desc', self.label_desc)):
            if given is not None:
                raise InputError(f'--label-with {self.label_with} brings its own labels: leave {option} out.')
        if self.is_table:
            raise InputError(f'--label-with {self.label_with} wants a BIDS dataset: it needs the T1w beside each T2w.')
        only = LABELLERS[self.label_with].fixed_contrast
        if only and self.contrasts[0] != only:
            raise InputError(
                f'--label-with {self.label_with} labels a {only}: let --contrasts begin with {only}, not '
                f'{self.contrasts[0]}.'
            )

    def _check_rescan(self) -> None:
        if self.is_table:
            raise InputError(f'--task {self.task} wants a BIDS dataset: it needs the sessions of each person.')
        if self.makes_labels:
            raise InputError(f'--task {self.task} needs no labels: leave --label-with out.')
        if self.pair_contrasts != T2W_TO_T1W:
            raise InputError(f'--task {self.task} compares maps of a T1w and a T2w: leave --contrasts out.')
        if self.prealign == 'none':
            raise InputError(f'--task {self.task} compares maps through the prealignment: leave --prealign none out.')

    @property
    def pair_contrasts(self) -> Contrasts:
        """Return the contrasts of the two scans of a pair."""
        return Contrasts(*self.contrasts)

    @property
    def makes_labels(self) -> bool:
        """Tell whether labels are made here, not read."""
        return self.label_with != 'none'

    def label_names(self) -> dict[int, str]:
        """Return the names of the labels that count, by value; see :func:`read_label_list`."""
        return LABELLERS[self.label_with].names() if self.makes_labels else read_label_list(self.labels)

    def label_caption(self) -> str:
        """Say where the labels come from."""
        if not self.makes_labels:
            return f'of {self.labels or "SynthSeg"}'
        return self.pair_contrasts.fill(LABELLERS[self.label_with].caption)

    def label_warning(self) -> str:
        """Say that labels were made, and by whom, for a title to end with; empty where they are files."""
        return f'; labels are no truth: {self.label_caption()}' if self.makes_labels else ''

    @property
    def translating(self) -> dict[str, Any]:
        """Return what decides a translation, and so the cells of methods that translate."""
        return {'folds': self.folds, 'steps': self.translation_steps, 'seed': self.seed}

    def wanted_pairs(self, there: int) -> int:
        """Return how many of the pairs that are there to take.

        Raises
        ------
        InputError
            If more were asked for than there are.
        """
        if self.pairs is None:
            drawn = TASKS[self.task].between_people and not self.is_table
            return min(there, INTER_PAIRS) if drawn else there
        if self.pairs > there:
            raise InputError(f'--pairs {self.pairs}: there are only {there} pairs in {self.input}.')
        return self.pairs

    @property
    def is_table(self) -> bool:
        """Tell whether the input is a table of pairs, not a BIDS dataset."""
        return not self.input.is_dir()

    def identity(self, pairs: typing.Iterable[str]) -> dict[str, Any]:
        """Return what all results in one folder have in common: benchmarks that differ in it cannot share a table.

        Parameters
        ----------
        pairs
            The pairs, see :meth:`bidsreg.benchmark.case.Case.identity`.
        """
        names = ('task', 'bias_correction', 'prealign', 'label_with', 'random_seed', 'sloppy')
        # the usual ones are not said: what was done with them is still done
        others = {} if self.pair_contrasts == T2W_TO_T1W else {'contrasts': list(self.contrasts)}
        return {
            'version': __version__,
            'input': str(self.input),
            **{name: getattr(self, name) for name in names},
            **others,
            'labels': {str(value): name for value, name in self.label_names().items()},
            'pairs': list(pairs),
        }


def digest(value: Any) -> str:
    """Return a short hash of JSON-ready values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]
