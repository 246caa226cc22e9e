"""The names of everything that a pair leaves behind: one table serves writing, finding and describing.

A product keeps the entities of the scan that it is made from and adds its own, some of which are spelled with the
contrasts of the pair; pybids' ``build_path`` puts them in order.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from bidsreg.settings import CHOICES

#: The folder of the output (and of the work) folder that is the program's own: locks, and files being written.
PRIVATE = '.bidsreg'

#: Endings of files with a dot in them.
DOUBLE_ENDINGS = ('.nii.gz', '.surf.gii', '.mrk.json')
#: Entities a scan may carry, in the order of BIDS: pybids' name and what is written.
ENTITIES = {
    'subject': 'sub',
    'session': 'ses',
    'sample': 'sample',
    'task': 'task',
    'acquisition': 'acq',
    'ceagent': 'ce',
    'staining': 'stain',
    'reconstruction': 'rec',
    'direction': 'dir',
    'run': 'run',
    'modality': 'mod',
    'echo': 'echo',
    'flip': 'flip',
    'inv': 'inv',
    'mt': 'mt',
    'part': 'part',
    'proc': 'proc',
    'chunk': 'chunk',
}
#: Entities whose values are numbers: 1 and 01 are the same.
NUMBERS = frozenset({'run', 'echo', 'flip', 'inv', 'chunk'})
#: Entities that come behind those of a product in the order of BIDS.
_LAST = ('chunk',)


def _optional(keys: Iterable[str]) -> str:
    return ''.join(f'[_{ENTITIES[key]}-{{{key}}}]' for key in keys)


_STEM = 'sub-{subject}' + _optional(key for key in ENTITIES if key not in ('subject', *_LAST))
#: The one pattern of every file of a pair, as pybids' ``build_path`` reads it.
PATTERN = (
    'sub-{subject}[/ses-{session}]/anat/'
    + _STEM
    + '[_space-{space}][_cohort-{cohort}][_res-{resolution}]'
    + _optional(_LAST)
    + '[_from-{from}][_to-{to}][_mode-{mode}][_label-{label}][_desc-{desc}]_{suffix}{extension}'
)
#: The pattern of the figures, which lie flat in one folder of the subject.
FIGURE_PATTERN = (
    'sub-{subject}/figures/'
    + _STEM
    + '[_space-{space}][_cohort-{cohort}]'
    + _optional(_LAST)
    + '[_from-{from}][_to-{to}]_desc-{desc}_{suffix}{extension}'
)


@dataclass(frozen=True)
class Contrasts:
    """The contrasts of a pair: the suffixes of its scans, of which a ``UNIT1`` is a T1w.

    Parameters
    ----------
    fixed, moving
        For example ``T1w`` and ``FLAIR``.
    """

    fixed: str = 'T1w'
    moving: str = 'T2w'

    @property
    def told(self) -> dict[str, str]:
        """The entities that tell a pair from a T2w and its T1w with the same ones; none for that pair itself."""
        return {} if self == Contrasts() else {'from': self.moving, 'to': self.fixed}

    @property
    def words(self) -> dict[str, str]:
        """The contrasts by the places that they have in texts: ``other`` is the one that is not, or may be no, T1w."""
        return {**asdict(self), 'other': self.moving if self.fixed == 'T1w' else self.fixed}

    def fill(self, text: str) -> str:
        """Return a text with the contrasts in the places ``{fixed}``, ``{moving}`` and ``{other}``."""
        return text.format(**self.words)


#: A T2w and its T1w: the pair whose names need not say its contrasts.
T2W_TO_T1W = Contrasts()


def mask_space(contrast: str) -> str:
    """Return the value of ``space`` of the brain mask on a scan's own grid; empty for a T1w, whose masks have none."""
    return '' if contrast == 'T1w' else contrast


@dataclass(frozen=True)
class Product:
    """One kind of file that a pair leaves.

    Parameters
    ----------
    of
        The scan whose entities it keeps: ``fixed`` or ``moving``.
    description
        A phrase for people who choose among outputs, with ``{fixed}`` and ``{moving}`` for the contrasts.
    entities
        The entities that it adds (pybids' names), suffix and extension among them, with the same places.

    """

    of: str
    description: str
    entities: Mapping[str, str]

    def spelled(self, contrasts: Contrasts) -> dict[str, str]:
        """Return the entities that it adds for a pair of these contrasts."""
        own = {key: contrasts.fill(value) for key, value in self.entities.items()}
        if own['suffix'] == 'mask':
            own['space'] = mask_space(own['space'])
        told = contrasts.told if own['suffix'] == 'qc' else {}
        return {key: value for key, value in {**told, **own}.items() if value}


def _product(of: str, description: str, suffix: str, extension: str = '.nii.gz', **entities: str) -> Product:
    return Product(of, description, {**entities, 'suffix': suffix, 'extension': extension})


_FORWARD = {'from': '{moving}', 'to': '{fixed}', 'mode': 'image'}
_INVERSE = {'from': '{fixed}', 'to': '{moving}', 'mode': 'image'}

#: Everything a pair leaves in its anat folder (the sidecars beside them have the same names with ``.json``).
PRODUCTS: dict[str, Product] = {
    'fixed_preproc': _product(
        'fixed',
        '{fixed} without its bias field (and, with space-{moving} in the name, as resampled onto the {moving})',
        '{fixed}',
        desc='preproc',
    ),
    'fixed_mask': _product(
        'fixed',
        'Brain mask of the {fixed} (and, with space-{moving} in the name, of the {moving})',
        'mask',
        space='{fixed}',
        desc='brain',
    ),
    'moving_mask': _product('moving', 'Brain mask of the {moving}', 'mask', space='{moving}', desc='brain'),
    'moving_in_fixed': _product(
        'moving', '{moving} on the grid of the {fixed}', '{moving}', space='{fixed}', desc='preproc'
    ),
    'moving_preproc': _product(
        'moving', '{moving} without its bias field, on its own grid', '{moving}', desc='preproc'
    ),
    'fixed_in_moving': _product(
        'moving', '{fixed} on the grid of the {moving}', '{fixed}', space='{moving}', desc='preproc'
    ),
    'jacobian': _product('moving', 'Jacobian determinant of the deformation', 'xfm', **_FORWARD, desc='jacobian'),
    'forward_xfm': _product(
        'moving', 'ITK transform that brings {moving} data onto the grid of the {fixed}', 'xfm', '.h5', **_FORWARD
    ),
    'inverse_xfm': _product(
        'moving', 'ITK transform that brings {fixed} data onto the grid of the {moving}', 'xfm', '.h5', **_INVERSE
    ),
    'affine_xfm': _product(
        'moving', 'Affine part of the transform from {moving} to {fixed}', 'xfm', '.tfm', **_FORWARD, desc='affine'
    ),
    'qc': _product('moving', 'Numbers about the registration, and its verdict', 'qc', '.json', desc='registration'),
}


#: The kinds of ratio of a T1w and a T2w.
RATIO_KINDS = ('uncalibrated', 'calibrated')
#: The key of a QC file under which a ratio that could not be made is noted.
RATIO_FAILURE = 'ratio_failure'
#: The ratio of a T1w and a T2w, which a pair leaves where it was asked for; ``desc`` is its kind.
RATIO = _product('moving', 'Ratio of the T1w and the T2w on the grid of the T1w', 'T1wT2wratio', space='T1w')

#: What each value of ``desc`` means in the names of the products.
DESCRIPTIONS: dict[str, str] = {
    'preproc': 'A scan as it was used: header made sane, bias field corrected; resampled where space is in its name',
    'brain': 'Mask of the brain',
    'affine': 'The affine part alone of a transform',
    'jacobian': 'Jacobian determinant of the deformation of a transform, without its affine',
    'registration': 'Numbers about a registration, and its verdict',
    'uncalibrated': 'A ratio of two scans in the units of the scanner',
    'calibrated': 'A ratio of two scans that were mapped to reference values before',
    'normalisation': 'Numbers about the normalisation to a template, and its verdict',
    **{
        contrast: f'Of lesions in the space of a template: those of the {contrast}'
        for contrast in CHOICES['modalities']
    },
}


def output_name(key: str, entities: Mapping[str, str], contrasts: Contrasts = T2W_TO_T1W) -> Path:
    """Return the path, relative to the output folder, of one product.

    Parameters
    ----------
    key
        A key of :data:`PRODUCTS`.
    entities
        The entities of the scan it keeps (pybids' names).
    contrasts
        Those of the pair.

    """
    return _build({**entities, **PRODUCTS[key].spelled(contrasts)}, PATTERN)


def build_name(entities: Mapping[str, str]) -> Path:
    """Return the path, relative to the output folder, of a file with these entities (pybids' names)."""
    return _build(entities, PATTERN)


def _build(entities: Mapping[str, str], pattern: str) -> Path:
    from bids.layout.writing import build_path

    return Path(build_path(dict(entities), [pattern], strict=False))


class Work(Protocol):
    """What a run does and keeps an account of: a pair, its ratio, or a normalisation."""

    @property
    def name(self) -> str:
        """Unlike that of any other."""

    @property
    def node_name(self) -> str:
        """The name as Nipype accepts it for a node."""

    @property
    def subject(self) -> str:
        """Label without ``sub-``."""

    @property
    def session(self) -> str | None:
        """Label without ``ses-``, where there are sessions."""


class TwoScans(Protocol):
    """What names follow from: the entities (pybids' names) of a pair's scans, and their contrasts."""

    @property
    def fixed_entities(self) -> Mapping[str, str]:
        """Of the fixed scan."""

    @property
    def entities(self) -> Mapping[str, str]:
        """Of the moving scan."""

    @property
    def contrasts(self) -> Contrasts:
        """Of both."""


def pair_name(entities: Mapping[str, str], contrasts: Contrasts = T2W_TO_T1W) -> str:
    """Return the name of a pair, unlike any other pair's.

    Parameters
    ----------
    entities
        Those of the moving scan (pybids' names).
    contrasts
        Those of the pair; the name says them unless they are T1w and T2w.

    >>> pair_name({'subject': '01', 'run': '2'})
    'sub-01_run-2'
    >>> pair_name({'subject': '01', 'run': '2'}, Contrasts(moving='FLAIR'))
    'sub-01_run-2_from-FLAIR_to-T1w'
    """
    labels = [f'{ENTITIES[key]}-{entities[key]}' for key in ENTITIES if key in entities]
    return '_'.join([*labels, *(f'{key}-{value}' for key, value in contrasts.told.items())])


_NAMES = {label: name for name, label in ENTITIES.items()}


def parse_pair_name(name: str) -> tuple[dict[str, str], Contrasts]:
    """Return the entities (pybids' names) of the moving scan of a pair, and the contrasts, from the pair's name."""
    parts = [(key, value) for key, dash, value in (part.partition('-') for part in name.split('_')) if dash]
    entities = {_NAMES[key]: value for key, value in parts if key in _NAMES}
    told = {key: value for key, value in parts if key in ('from', 'to')}
    return entities, Contrasts(told.get('to', T2W_TO_T1W.fixed), told.get('from', T2W_TO_T1W.moving))


def pair_outputs(pair: TwoScans, output_dir: str | os.PathLike) -> dict[str, Path]:
    """Return where every product of a pair is (or will be): the keys of :data:`PRODUCTS`."""
    sources = {'fixed': pair.fixed_entities, 'moving': pair.entities}
    return {
        key: Path(output_dir) / output_name(key, sources[product.of], pair.contrasts)
        for key, product in PRODUCTS.items()
    }


#: Extensions of the affine alone in the formats of other programs, by the names that ``--affine-formats`` takes.
AFFINE_FORMATS: Mapping[str, str] = {'fsl': '.mat', 'lta': '.lta'}


def affine_path(
    entities: Mapping[str, str], output_dir: str | os.PathLike, name: str, contrasts: Contrasts = T2W_TO_T1W
) -> Path:
    """Return where the affine of a pair is in another program's format: beside ours, with another extension.

    Parameters
    ----------
    entities
        The entities of the moving scan (pybids' names).
    output_dir
        The output folder.
    name
        A key of :data:`AFFINE_FORMATS`.
    contrasts
        Those of the pair.
    """
    path = Path(output_dir) / output_name('affine_xfm', entities, contrasts)
    return path.with_suffix(AFFINE_FORMATS[name])


def ratio_path(
    entities: Mapping[str, str], output_dir: str | os.PathLike, kind: str, contrasts: Contrasts = T2W_TO_T1W
) -> Path:
    """Return where the ratio of a pair's T1w and T2w is.

    Parameters
    ----------
    entities
        The entities of the moving scan (pybids' names).
    output_dir
        The output folder.
    kind
        One of :data:`RATIO_KINDS`.
    contrasts
        Those of the pair.
    """
    return Path(output_dir) / _build({**entities, **RATIO.spelled(contrasts), 'desc': kind}, PATTERN)


def lesion_path(
    entities: Mapping[str, str], output_dir: str | os.PathLike, end: str, contrasts: Contrasts = T2W_TO_T1W
) -> Path:
    """Return where the lesions of a scan are, as they were used: there only for a pair that has some.

    Parameters
    ----------
    entities
        The entities of the moving scan (pybids' names).
    output_dir
        The output folder.
    end
        Whose lesions, and on whose grid: ``fixed`` or ``moving``.
    contrasts
        Those of the pair.
    """
    own = {'space': getattr(contrasts, end), 'label': 'lesion', 'suffix': 'mask', 'extension': '.nii.gz'}
    return Path(output_dir) / _build({**entities, **own}, PATTERN)


def figure_path(
    entities: Mapping[str, str],
    output_dir: str | os.PathLike,
    desc: str,
    suffix: str = '{moving}',
    ext: str = '.svg',
    contrasts: Contrasts = T2W_TO_T1W,
) -> Path:
    """Return where a figure of a pair is: flat in ``sub-*/figures``, named by the entities of its moving scan.

    Parameters
    ----------
    entities
        The entities of the moving scan (pybids' names).
    output_dir
        The output folder.
    desc, suffix, ext
        Entities, suffix and extension of the figure itself; ``{fixed}`` and ``{moving}`` are places for contrasts.
    contrasts
        Those of the pair.

    """
    own = {'desc': desc, 'suffix': contrasts.fill(suffix), 'extension': ext}
    return Path(output_dir) / _build({**entities, **contrasts.told, **own}, FIGURE_PATTERN)


def partial_path(name: str, output_dir: Path) -> Path:
    """Return the path of the partial results of a pair that failed."""
    return output_dir / 'logs' / f'{name}_partial.json'


def sidecar(path: Path) -> Path:
    """Return the path of the JSON file that describes a file: dots before its ending belong to the name."""
    ending = next((ending for ending in DOUBLE_ENDINGS if path.name.endswith(ending)), path.suffix)
    return path.with_name(path.name.removesuffix(ending) + '.json')
