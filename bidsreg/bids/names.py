"""The names of everything that a pair leaves behind: one table serves writing, finding and describing.

A product keeps the entities of the scan that it is made from and adds its own; pybids' ``build_path`` puts them in
order.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

#: The folder of the output (and of the work) folder that is the program's own: locks, and files being written.
PRIVATE = '.bidsreg'

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
    + '[_space-{space}]'
    + _optional(_LAST)
    + '[_from-{from}][_to-{to}][_mode-{mode}][_desc-{desc}]_{suffix}{extension}'
)
#: The pattern of the figures, which lie flat in one folder of the subject.
FIGURE_PATTERN = 'sub-{subject}/figures/' + _STEM + _optional(_LAST) + '_desc-{desc}_{suffix}{extension}'


@dataclass(frozen=True)
class Product:
    """One kind of file that a pair leaves.

    Parameters
    ----------
    of
        The scan whose entities it keeps: ``T1w`` or ``T2w``.
    description
        A phrase for people who choose among outputs.
    entities
        The entities that it adds (pybids' names), suffix and extension among them.

    """

    of: str
    description: str
    entities: Mapping[str, str]


def _product(of: str, description: str, suffix: str, extension: str = '.nii.gz', **entities: str) -> Product:
    return Product(of, description, {**entities, 'suffix': suffix, 'extension': extension})


_TO_T1W = {'from': 'T2w', 'to': 'T1w', 'mode': 'image'}
_TO_T2W = {'from': 'T1w', 'to': 'T2w', 'mode': 'image'}

#: Everything a pair leaves in its anat folder (the sidecars beside them have the same names with ``.json``).
PRODUCTS: dict[str, Product] = {
    't1w_preproc': _product(
        'T1w',
        'T1w without its bias field (and, with space-T2w in the name, as resampled onto the T2w)',
        'T1w',
        desc='preproc',
    ),
    't1w_mask': _product(
        'T1w', 'Brain mask of the T1w (and, with space-T2w in the name, of the T2w)', 'mask', desc='brain'
    ),
    't2w_mask': _product('T2w', 'Brain mask of the T2w', 'mask', space='T2w', desc='brain'),
    't2w_in_t1w': _product('T2w', 'T2w on the grid of the T1w', 'T2w', space='T1w', desc='preproc'),
    't2w_preproc': _product('T2w', 'T2w without its bias field, on its own grid', 'T2w', desc='preproc'),
    't1w_in_t2w': _product('T2w', 'T1w on the grid of the T2w', 'T1w', space='T2w', desc='preproc'),
    'jacobian': _product('T2w', 'Jacobian determinant of the deformation', 'xfm', **_TO_T1W, desc='jacobian'),
    'forward_xfm': _product(
        'T2w', 'ITK transform that brings T2w data onto the grid of the T1w', 'xfm', '.h5', **_TO_T1W
    ),
    'inverse_xfm': _product(
        'T2w', 'ITK transform that brings T1w data onto the grid of the T2w', 'xfm', '.h5', **_TO_T2W
    ),
    'affine_xfm': _product(
        'T2w', 'Affine part of the transform from T2w to T1w', 'xfm', '.tfm', **_TO_T1W, desc='affine'
    ),
    'qc': _product('T2w', 'Numbers about the registration, and its verdict', 'qc', '.json', desc='registration'),
}


#: What each value of ``desc`` means in the names of the products.
DESCRIPTIONS: dict[str, str] = {
    'preproc': 'A scan as it was used: header made sane, bias field corrected; resampled where space is in its name',
    'brain': 'Mask of the brain',
    'affine': 'The affine part alone of a transform',
    'jacobian': 'Jacobian determinant of the deformation of a transform, without its affine',
    'registration': 'Numbers about a registration, and its verdict',
}


def output_name(key: str, entities: Mapping[str, str]) -> Path:
    """Return the path, relative to the output folder, of one product.

    Parameters
    ----------
    key
        A key of :data:`PRODUCTS`.
    entities
        The entities of the scan it keeps (pybids' names).

    """
    return _build({**entities, **PRODUCTS[key].entities}, PATTERN)


def _build(entities: Mapping[str, str], pattern: str) -> Path:
    from bids.layout.writing import build_path

    return Path(build_path(dict(entities), [pattern], strict=False))


class TwoScans(Protocol):
    """What names follow from: the entities (pybids' names) of a pair's T1w and T2w."""

    @property
    def fixed_entities(self) -> Mapping[str, str]:
        """Of the T1w."""

    @property
    def entities(self) -> Mapping[str, str]:
        """Of the T2w."""


def pair_outputs(pair: TwoScans, output_dir: str | os.PathLike) -> dict[str, Path]:
    """Return where every product of a pair is (or will be): the keys of :data:`PRODUCTS`."""
    sources = {'T1w': pair.fixed_entities, 'T2w': pair.entities}
    return {key: Path(output_dir) / output_name(key, sources[product.of]) for key, product in PRODUCTS.items()}


#: Extensions of the affine alone in the formats of other programs, by the names that ``--affine-formats`` takes.
AFFINE_FORMATS: Mapping[str, str] = {'fsl': '.mat', 'lta': '.lta'}


def affine_path(entities: Mapping[str, str], output_dir: str | os.PathLike, name: str) -> Path:
    """Return where the affine of a pair is in another program's format: beside ours, with another extension.

    Parameters
    ----------
    entities
        The entities of the T2w (pybids' names).
    output_dir
        The output folder.
    name
        A key of :data:`AFFINE_FORMATS`.
    """
    return (Path(output_dir) / output_name('affine_xfm', entities)).with_suffix(AFFINE_FORMATS[name])


def figure_path(
    entities: Mapping[str, str], output_dir: str | os.PathLike, desc: str, suffix: str = 'T2w', ext: str = '.svg'
) -> Path:
    """Return where a figure of a pair is: flat in ``sub-*/figures``, named by the entities of its T2w.

    Parameters
    ----------
    entities
        The entities of the T2w (pybids' names).
    output_dir
        The output folder.
    desc, suffix, ext
        Entities, suffix and extension of the figure itself.

    """
    named = {**entities, 'desc': desc, 'suffix': suffix, 'extension': ext}
    return Path(output_dir) / _build(named, FIGURE_PATTERN)


def partial_path(name: str, output_dir: Path) -> Path:
    """Return the path of the partial results of a pair that failed."""
    return output_dir / 'logs' / f'{name}_partial.json'


def sidecar(path: Path) -> Path:
    """Return the path of the JSON file that describes a file."""
    return path.with_name(path.name.partition('.')[0] + '.json')
