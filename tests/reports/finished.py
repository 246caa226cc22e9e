"""A finished pair as a run leaves it, without pictures."""

import dataclasses
import json
from pathlib import Path

import nibabel as nib
import numpy as np

from bidsreg.bids.names import pair_outputs, ratio_path, sidecar
from bidsreg.bids.pairs import find_pairs
from bidsreg.bids.sidecars import ratio_sidecar, sidecars
from bidsreg.registration.grid import Grid
from bidsreg.registration.itk import write_affine, write_composite
from bidsreg.settings import Settings
from tests import data
from tests.reports.results import RESULT

#: What is known of a ratio that was calibrated.
RATIO = {
    'kind': 'calibrated',
    'without': 0.001,
    'clamped': 0.002,
    'ceiling': 2.5,
    'median': {'white': 1.02, 'grey': 0.31},
    'calibration': 'csf-grey',
    'points': {'csf': {'T1w': 100.0, 'T2w': 900.0}, 'grey': {'T1w': 300.0, 'T2w': 400.0}},
    'reference': {'csf': {'T1w': 40.0, 'T2w': 1300.0}, 'grey': {'T1w': 170.0, 'T2w': 600.0}},
    'reference_source': 'somewhere',
    'lines': {'T1w': {'slope': 0.65, 'intercept': -25.0}, 'T2w': {'slope': 1.4, 'intercept': 40.0}},
    'passed_over': {'eyes-muscle': 'not found'},
}

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
    outputs['ratio'] = ratio_path(done.pair.entities, settings.output_dir, RATIO['kind'])
    values = np.asarray(heads.fixed.dataobj, np.float32) / np.maximum(np.asarray(aligned.dataobj, np.float32), 1)
    ratio = np.where(np.asarray(heads.fixed_mask.dataobj) > 0, values, 0).astype(np.float32)
    nib.save(nib.Nifti1Image(ratio, heads.fixed.affine), outputs['ratio'])
    texts = sidecars(done.pair, settings, {'result': RESULT})
    texts['ratio'] = ratio_sidecar(done.pair, settings, {'result': RESULT}, RATIO)
    for key, text in texts.items():
        sidecar(outputs[key]).write_text(json.dumps(text))
    marker = {'pair': done.pair.name, 'fingerprint': settings.fingerprint(), 'result': RESULT, 'ratio': RATIO}
    outputs['qc'].write_text(json.dumps(marker))
    return done
