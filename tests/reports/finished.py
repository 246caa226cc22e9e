"""A finished pair as a run leaves it, without pictures."""

import dataclasses
import json
from pathlib import Path

import nibabel as nib
import numpy as np

from bidsreg.bids.names import pair_outputs, sidecar
from bidsreg.bids.pairs import find_pairs
from bidsreg.bids.sidecars import sidecars
from bidsreg.registration.grid import Grid
from bidsreg.registration.itk import write_affine, write_composite
from bidsreg.settings import Settings
from tests import data
from tests.reports.results import RESULT

KNOWN = data.truth(3, turn=(3, -2, 4), shift=(5, -4, 6), amplitude=0.0)


@dataclasses.dataclass(frozen=True)
class Finished:
    """A dataset of one pair, its derivatives without figures, and what is true of it."""

    settings: Settings
    plan: object
    heads: data.Pair

    @property
    def pair(self):
        return self.plan.pairs[0]

    @property
    def outputs(self):
        return pair_outputs(self.pair, self.settings.output_dir)


def make_finished(folder: Path) -> Finished:
    """Lay one out below an empty folder."""
    heads = data.pair((44, 52, 44), 3, known=KNOWN)
    images = {'sub-01_T1w.nii.gz': heads.fixed, 'sub-01_T2w.nii.gz': heads.moving}
    root = data.write_dataset(folder / 'raw', images=images)
    settings = Settings(bids_dir=root, output_dir=folder / 'out', work_dir=folder / 'work', run_uuid='run1')
    done = Finished(settings, find_pairs(settings), heads)
    outputs = done.outputs
    outputs['qc'].parent.mkdir(parents=True)
    aligned = data.head((44, 52, 44), 3, 'T2w').scan  # where a perfect registration brings it
    for key, image in {
        'fixed_preproc': heads.fixed,
        'fixed_mask': heads.fixed_mask,
        'moving_mask': heads.moving_mask,
        'moving_in_fixed': aligned,
        'fixed_in_moving': heads.moving,
        'jacobian': nib.Nifti1Image(np.ones(heads.fixed.shape, np.float32), heads.fixed.affine),
    }.items():
        nib.save(image, outputs[key])
    write_affine(outputs['affine_xfm'], KNOWN.matrix)
    still = np.zeros((*heads.fixed.shape, 3), np.float32)
    for key in ('forward_xfm', 'inverse_xfm'):
        grid = Grid(heads.fixed.shape, heads.fixed.affine)
        write_composite(outputs[key], KNOWN.matrix, still, grid, affine_first=key == 'inverse_xfm')
    for key, text in sidecars(done.pair, settings, {'result': RESULT}).items():
        sidecar(outputs[key]).write_text(json.dumps(text))
    marker = {'pair': done.pair.name, 'fingerprint': settings.fingerprint(), 'result': RESULT}
    outputs['qc'].write_text(json.dumps(marker))
    return done
