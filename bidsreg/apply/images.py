"""Images of intensities and of labels: 3-D, or 4-D volume by volume."""

from __future__ import annotations

import abc
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from bidsreg.apply.base import Carried, Errand, FileKind, Options
from bidsreg.apply.chain import Chain
from bidsreg.apply.interpolation import INTERPOLATIONS, Interpolation, fill
from bidsreg.apply.volumes import Volumes, load, open_image, write
from bidsreg.bids.names import sidecar
from bidsreg.bids.nifti import MGH, whole_numbers
from bidsreg.errors import InputError

#: Volumes are resampled together as long as they take no more bytes.
GROUP_BYTES = 1 << 29
#: The largest label that kernels take as it is.
LARGEST = np.iinfo(np.int32).max
_WHOLE = tuple(np.dtype(kind) for kind in (np.uint8, np.int16, np.int32, np.int64))


@dataclass(frozen=True, eq=False)
class _Values:
    """What is given to a kernel, and what is made of its answers.

    Attributes
    ----------
    kind
        The type of the voxels of the result.
    codes
        Labels too large for a kernel, in rising order: it gets their places among them.
    notes
        Sentences for the user.
    """

    kind: np.dtype
    codes: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    def given(self, volume: np.ndarray) -> np.ndarray:
        """Return a volume as kernels take it."""
        if self.kind.kind != 'f' and volume.dtype.kind == 'f':  # labels that a scale has moved off whole numbers
            volume = np.rint(volume)
        if self.codes is not None:
            return np.searchsorted(self.codes, volume).astype(np.int32)
        return volume.astype(np.float32 if self.kind.kind == 'f' else np.int32)

    def returned(self, volume: np.ndarray) -> np.ndarray:
        """Return a volume that a kernel gave in the type of the result."""
        return (volume if self.codes is None else self.codes[volume]).astype(self.kind)


class _Images(FileKind, abc.ABC):
    """What images of both kinds share: they are pulled onto the grid of the reference."""

    endings = ('.nii.gz', '.nii', *MGH)
    on_grid = True
    usual: ClassVar[str]

    def ending_of(self, source: Path) -> str:
        """Return how the name of the result ends: FreeSurfer's format is not written."""
        return '.nii' if source.name.endswith('.nii') else '.nii.gz'

    @abc.abstractmethod
    def _takes(self, interpolation: Interpolation) -> bool:
        """Tell whether an interpolation is for this kind."""

    @abc.abstractmethod
    def _values(self, source: Path, volumes: Volumes, interpolation: Interpolation, outside: float) -> _Values:
        """Return how its voxels are handed over; raises :class:`InputError` for what cannot be."""

    def _interpolation(self, options: Options) -> Interpolation:
        found = INTERPOLATIONS[options.interpolation or self.usual]
        if not self._takes(found):
            fitting = [one.name for one in INTERPOLATIONS.values() if self._takes(one)]
            raise InputError(
                f'--interpolation {found.name} is not for the kind {self.name}: take {" or ".join(fitting)}, or say '
                'with --kind what the file is.'
            )
        return found

    def check(self, errand: Errand, options: Options) -> None:
        """Check interpolation, headers and the name of the result."""
        self._interpolation(options)
        if errand.reference is None:
            raise InputError(f'{errand.source}: give --reference, an image on whose grid it is wanted.')
        if not errand.out.name.endswith(('.nii', '.nii.gz')):
            raise InputError(f'{errand.out}: the name of an image ends in .nii or .nii.gz.')
        open_image(errand.source)
        open_image(errand.reference)

    def carry(self, errand: Errand, options: Options, hidden: Path) -> Carried:
        """Resample all volumes in one interpolation, some at a time."""
        assert errand.reference is not None
        interpolation, volumes = self._interpolation(options), load(errand.source)
        values = self._values(errand.source, volumes, interpolation, options.outside)
        outside = 0 if values.codes is not None else options.outside
        target, chain, count = open_image(errand.reference)[1], Chain.read(errand.route.images), volumes.data.shape[3]
        step = max(1, GROUP_BYTES // (4 * int(np.prod(target.shape))))
        seen: list[int] = []
        notes: list[str] = []

        def carried() -> Iterator[np.ndarray]:
            for first in range(0, count, step):
                some = [values.given(volumes.data[..., k]) for k in range(first, min(first + step, count))]
                filled, in_view, lost = fill(
                    some, volumes.grid, chain, target, interpolation, outside=outside, threads=options.threads
                )
                if not in_view:
                    raise InputError(
                        f'{errand.source}: no voxel of {errand.reference} lies in it. The transforms are of another '
                        'pair, go the other way or stand in another order, or the image lies elsewhere.'
                    )
                if lost and not seen:
                    notes.append(f'{lost} voxels have no place in it, since the transform folds there')
                seen.append(in_view)
                yield from map(values.returned, filled)

        write(hidden, carried(), values.kind, volumes, errand.reference, options.threads)
        facts = {
            'Interpolation': interpolation.description,
            'ShareInFieldOfView': round(seen[0] / int(np.prod(target.shape)), 4),
        }
        return Carried(facts, (*values.notes, *notes, *_directions(errand.source)))


def _holds(kind: np.dtype, value: float) -> bool:
    limits = np.iinfo(kind)
    return bool(np.isfinite(value)) and value == int(value) and limits.min <= value <= limits.max


def _directions(source: Path) -> list[str]:
    """Say where directions of diffusion would have to be turned with the volumes."""
    table = sidecar(source).with_suffix('.bvec')
    return [f'{table.name} is not turned: its directions are those of {source.name}'] if table.exists() else []


class Intensities(_Images):
    """What was measured: values between those of neighbours mean something."""

    name = 'image'
    usual = 'linear'

    def _takes(self, interpolation: Interpolation) -> bool:
        return interpolation.takes_intensities

    def _values(self, source: Path, volumes: Volumes, interpolation: Interpolation, outside: float) -> _Values:
        if volumes.data.dtype.kind not in 'f':
            return _Values(np.dtype(np.float32))
        lost = int((~np.isfinite(volumes.data)).sum())
        if lost and interpolation.spreads:
            raise InputError(
                f'{source}: {lost} voxels are NaN or infinite, which {interpolation.name} would spread; replace them, '
                'or take --interpolation linear or nearest.'
            )
        notes = (f'{lost} voxels are NaN or infinite, and so is what lies between them and others',) if lost else ()
        return _Values(np.dtype(np.float32), notes=notes)


class Labels(_Images):
    """Regions by their numbers: there is nothing between two of them."""

    name = 'labels'
    usual = 'labels'
    suffix = 'dseg'

    def _takes(self, interpolation: Interpolation) -> bool:
        return interpolation.takes_labels

    def _values(self, source: Path, volumes: Volumes, interpolation: Interpolation, outside: float) -> _Values:
        data = whole_numbers(volumes.data, volumes.header)
        if data is None:
            odd = volumes.data[~np.isfinite(volumes.data) | (volumes.data != np.rint(volumes.data))]
            raise InputError(
                f'{source}: an image of labels holds whole numbers, this one {odd.size} others (such as {odd[0]:g}). '
                'If it was interpolated take what it was made of; if it is none, say --kind image.'
            )
        low, high = (int(value) for value in (data.min(), data.max()))
        notes: tuple[str, ...] = ()
        kind: np.dtype = data.dtype
        if kind.kind == 'f':
            kind = next(one for one in _WHOLE if _holds(one, low) and _holds(one, high))
            notes = (f'labels stored as {data.dtype} are written as {kind}',)
        if outside and not _holds(kind, outside):
            raise InputError(f'--outside {outside:g} is no label of the type {kind} of {source}.')
        if low >= -LARGEST and high <= LARGEST:
            return _Values(kind, notes=notes)
        if outside:
            raise InputError(f'{source}: with labels of more than 32 bits --outside is 0.')
        # zero, the background, is the place of what nothing is known of
        codes = np.unique(np.concatenate([data.ravel(), np.zeros(1, data.dtype)]))
        if codes[0] < 0:
            raise InputError(f'{source}: labels of more than 32 bits must not be negative.')
        return _Values(kind, codes, notes)
