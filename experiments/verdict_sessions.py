"""The real cases of verdicts.py: raw T1w and T2w of sessions, thinned out, deepbet's mask, no bias field."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from verdict_cases import Scans

from bidsreg.bids.headers import load_sane
from bidsreg.bids.images import load_image
from bidsreg.preparation.bias import correct_bias
from bidsreg.preparation.prealign import prealign
from bidsreg.preparation.resample import resample
from bidsreg.preparation.skullstrip import run_deepbet
from bidsreg.qc.symmetry import thinned
from bidsreg.registration.atomic import atomic_folder
from bidsreg.registration.itk import write_affine

#: Voxels, mm, to which the axes that are finer are thinned out.
THIN_MM = 2.7


@dataclass(frozen=True)
class Session:
    """A session: its name, ``sub-01_ses-1`` or the like, and the folder of what is made of it."""

    name: str
    folder: Path

    @property
    def subject(self) -> str:
        """Digits of the subject's name."""
        return self.name.split('_')[0][4:]

    def scans(self, other: Session | None = None) -> Scans:
        """Return its T1w and its T2w, or another session's."""
        fixed, mask = (load_image(self.folder / f'{what}.nii.gz') for what in ('fixed', 'mask'))
        there = (other or self).folder
        moving, brain = (load_image(there / f'{what}.nii.gz') for what in ('moving', 'moving_brain'))
        return Scans(fixed=fixed, moving=moving, mask=mask, second=mask, moving_brain=brain)


def find_sessions(bids: Path, out: Path) -> list[Session]:
    """Find the sessions of a dataset that have a T1w and a T2w, and make ready those that are not."""
    found = []
    for fixed in sorted(bids.glob('sub-*/ses-*/anat/*_T1w.nii.gz')):
        moving = fixed.with_name(fixed.name.replace('_T1w', '_T2w'))
        session = Session(fixed.name.removesuffix('_T1w.nii.gz'), out / fixed.name.removesuffix('_T1w.nii.gz'))
        if moving.exists() and not session.folder.exists():
            _prepare(fixed, moving, session.folder)
        if session.folder.exists():
            found.append(session)
    return found


def _prepare(fixed: Path, moving: Path, folder: Path) -> None:
    with atomic_folder(folder) as hidden, chdir(hidden):
        load_sane(fixed).to_filename('whole.nii')
        whole = load_image('whole.nii')
        mask = nib.Nifti1Image(run_deepbet('whole.nii').astype(np.float32), whole.affine)
        _save(thinned(whole, THIN_MM), 'fixed_biased.nii.gz')
        _save(_binary(thinned(mask, THIN_MM)), 'mask.nii.gz')
        _save(thinned(load_sane(moving), THIN_MM), 'moving_biased.nii.gz')
        matrix, _ = prealign('fixed_biased.nii.gz', 'moving_biased.nii.gz', stage='rigid', sloppy=True)
        write_affine('rigid.txt', matrix)
        brain = resample(
            'mask.nii.gz', 'moving_biased.nii.gz', ['rigid.txt'], invert=[True], interpolation='genericLabel'
        )
        _save(brain, 'moving_brain.nii.gz')
        for name, where in (('fixed', 'mask'), ('moving', 'moving_brain')):
            _save(correct_bias(f'{name}_biased.nii.gz', f'{where}.nii.gz', sloppy=True), f'{name}.nii.gz')
        for name in ('whole.nii', 'deepbet.nii.gz'):
            os.unlink(name)


def _binary(image: nib.Nifti1Image) -> nib.Nifti1Image:
    return nib.Nifti1Image((np.asarray(image.dataobj) > 0.5).astype(np.uint8), image.affine)


def _save(image: nib.Nifti1Image, name: str) -> None:
    nib.save(image, name)


def pairs_of(sessions: Sequence[Session], same: bool) -> list[tuple[Session, Session]]:
    """Return the pairs of two sessions of one subject, or of two."""
    return [
        (one, other)
        for one in sessions
        for other in sessions
        if one != other and (one.subject == other.subject) == same
    ]
