"""The measures, every number of the tables: names, meaning, units, and which way is better.

:mod:`bidsreg.benchmark.judge` defines and computes those about a deformation.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations


@dataclass(frozen=True)
class Measure:
    """One number about a registration.

    Attributes
    ----------
    key : str
        Column of ``results.tsv``.
    long_name, description, units : str
        For the data dictionary.
    heading : str
        Column of the printed table; empty: not shown there.
    better : int
        1: more is better; -1: less is; 0: neither.
    form : str
        Format in which it is printed, after multiplication by `scale`.
    scale : float
        Factor from the unit of ``results.tsv`` to that of the printed table.
    of_field : bool
        Whether the number is about the deformation: it says nothing about a method that makes none.
    """

    key: str
    long_name: str
    description: str
    units: str = ''
    heading: str = ''
    better: int = 0
    form: str = '.2f'
    scale: float = 1.0
    of_field: bool = False

    @property
    def arrow(self) -> str:
        """Return the arrow that shows which way is better; empty where neither is."""
        return {1: ' ↑', -1: ' ↓', 0: ''}[self.better]


DICE = Measure(
    'dice_mean',
    'Dice coefficient',
    'Mean over the labels that both images have, of the fixed labels and the moving labels brought onto them (nearest '
    'neighbour).',
    '1',
    'DSC (%)',
    1,
    scale=100,
)
TRE = Measure(
    'tre_mean', 'Target registration error', 'Mean distance of points from their true places.', 'mm', 'TRE (mm)', -1
)
#: The three maps of a rescan: contrasts of the fixed and of the moving scan.
MAPS = {'T1w-T1w': ('T1w', 'T1w'), 'T2w-T2w': ('T2w', 'T2w'), 'T1w-T2w': ('T1w', 'T2w')}
RESCAN = Measure(
    'rescan_mean',
    'Scan-rescan consistency',
    'Mean distance between where the maps of two sessions, found from T1w to T1w, from T2w to T2w and from T1w to T2w, '
    'take points of the brain; mean over each two of the three.',
    'mm',
    'Maps apart (mm)',
    -1,
    of_field=True,
)


def rescan_key(one: str, other: str) -> str:
    """Return the column for the distance between two of the :data:`MAPS`."""
    return f'rescan_{one}_{other}'.lower().replace('-', '_')


RESCAN_PARTS = tuple(
    Measure(
        rescan_key(one, other),
        f'Scan-rescan consistency, {one} and {other}',
        f'Mean distance between where the maps from {" to ".join(MAPS[one])} and from {" to ".join(MAPS[other])} take '
        'points of the brain.',
        'mm',
        f'{one} / {other} (mm)',
        -1,
        of_field=True,
    )
    for one, other in combinations(MAPS, 2)
)
FOLDS = Measure(
    'folds',
    'Folded voxels',
    'Voxels of the field inside the brain mask whose Jacobian determinant (central differences, without the affine) is '
    'not positive.',
    'voxels',
    'Sum |J| ≤ 0',
    -1,
    '.4g',
    of_field=True,
)
FOLDS_PERCENT = Measure(
    'folds_percent',
    'Folded voxels, percent',
    'The same in percent of the mask.',
    '%',
    '% of |J| ≤ 0',
    -1,
    '.2g',
    of_field=True,
)
SECONDS = Measure(
    'seconds',
    'Run time',
    'Wall-clock seconds from two images to the fields of both directions: of a preset without reading the files, of '
    'another program with its own reading and writing.',
    's',
    'Seconds',
    -1,
    '.0f',
)
CPU_SECONDS = Measure(
    'cpu_seconds',
    'CPU time of bidsreg-pair',
    'CPU seconds (user and system, of all threads) of the whole process and of every program that it ran: with the '
    'start of Python, all files, and the evidence that is looked at. Waiting for other work does not count.',
    's',
    'CPU seconds',
    -1,
    '.0f',
)
MEASURES = (
    DICE,
    Measure(
        'hd95_mean',
        'Hausdorff distance, 95th percentile',
        'Mean over the labels that both images have, of the larger of the two directed 95th percentiles of the '
        'distances between surface voxels.',
        'mm',
        'HD95 (mm)',
        -1,
    ),
    TRE,
    Measure(
        'tre_p95',
        'Target registration error, 95th percentile',
        'Of the distances of points from their true places.',
        'mm',
        'TRE 95 % (mm)',
        -1,
    ),
    RESCAN,
    *RESCAN_PARTS,
    FOLDS,
    FOLDS_PERCENT,
    Measure(
        'ndv_percent',
        'Non-diffeomorphic volume',
        'Volume of the tetrahedra between voxel centres that the field turns over, in percent of the brain mask '
        '(Liu et al. 2024).',
        '%',
        'NDV (%)',
        -1,
        '.2g',
        of_field=True,
    ),
    Measure(
        'sdlogj',
        'Standard deviation of log |J|',
        'Of the natural logarithm of the Jacobian determinant inside the brain mask; the determinant is clipped to '
        '[1e-9, 1e9].',
        '1',
        'SDlogJ',
        -1,
        '.3f',
        of_field=True,
    ),
    Measure(
        'inverse_consistency_mm',
        'Inverse consistency error',
        'Mean distance between points of the brain mask and where the field and then its inverse take them.',
        'mm',
        'Inverse error (mm)',
        -1,
        '.3f',
        of_field=True,
    ),
    SECONDS,
    CPU_SECONDS,
    Measure(
        'training_cpu_seconds',
        'CPU time of the training',
        'CPU seconds of the steps by which the translation of the moving image was trained; several pairs share them.',
        's',
        'Training (CPU s)',
        -1,
        '.0f',
    ),
    Measure(
        'translation_mind',
        'MIND distance of the translation',
        'Mean squared difference of MIND between the moving image and its translation, inside the brain: 0 where no '
        'border has moved.',
        '1',
        'MIND of T(x)',
        -1,
        '.3f',
    ),
    Measure(
        'seconds_total',
        'Run time of bidsreg-pair',
        'Wall-clock seconds of the whole process: with the start of Python, all files, and the evidence that is looked '
        'at.',
        's',
    ),
    Measure(
        'peak_memory_mb',
        'Peak memory',
        'Largest resident memory of the program.',
        'MB',
        'Memory (MB)',
        -1,
        '.0f',
    ),
    Measure(
        'peak_gpu_memory_mb',
        'Peak GPU memory',
        'Largest memory allocated on the GPU.',
        'MB',
        'GPU memory (MB)',
        -1,
        '.0f',
    ),
)
