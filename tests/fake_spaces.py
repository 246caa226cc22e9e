"""Normalisations with pretended work: small files where the real graph would leave large ones, in the real places."""

from __future__ import annotations

import json
import os
from pathlib import Path

import nibabel as nib
import numpy as np
from nipype.interfaces.base import BaseInterfaceInputSpec, SimpleInterface, TraitedSpec, traits
from nipype.pipeline import engine as pe

from bidsreg.bids.images import load_image
from bidsreg.bids.normalisations import normalisation_outputs
from bidsreg.bids.publish_normalisation import publish_normalisation
from bidsreg.reports.spaces import SPACE_PICTURES, space_picture_path
from tests.fake_app import VARIABLE
from tests.qc.test_normalisation import GOOD

SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>'


def fake_space_files(unit, template, folder: Path, seed: int = 0) -> dict[str, Path]:
    """Make a small file for everything that a normalisation leaves; images are valid ones on their grids."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    files = {}
    for key, goal in normalisation_outputs(unit, folder).items():
        if key == 'qc':
            continue
        files[key] = folder / f'{key}{"".join(goal.suffixes[-2:]) if ".nii" in goal.name else goal.suffix}'
        if '.nii' not in goal.name:
            files[key].write_text(key)
            continue
        grids = [grid for grid in unit.space.grids if grid is not None and key.endswith(f'res-{grid}')]
        like = load_image(template.references[grids[0]] if grids else template.image)
        inside = 'mask' in key or key == 'brain'
        data = np.ones(like.shape, np.uint8) if inside else rng.uniform(1, 2, like.shape).astype(np.float32)
        nib.save(nib.Nifti1Image(data, like.affine), files[key])
    return files


def publish_fake_space(unit, template, settings, folder: Path, facts=None, seed: int = 0) -> None:
    """Publish a normalisation of small files, with figures."""
    files = fake_space_files(unit, template, folder, seed)
    figures = {}
    for name in SPACE_PICTURES:
        figures[space_picture_path(unit.entities, settings.output_dir, name, unit.contrast)] = folder / f'{name}.svg'
        (folder / f'{name}.svg').write_text(SVG)
    publish_normalisation(files, unit, settings, GOOD if facts is None else facts, figures)


class _In(BaseInterfaceInputSpec):
    unit = traits.Any(mandatory=True)
    template = traits.Any(mandatory=True)
    settings = traits.Any(mandatory=True, nohash=True)


class _Out(TraitedSpec):
    done = traits.Bool()


class PublishFake(SimpleInterface):
    """Publishes what a normalisation would leave, or fails as it is told."""

    input_spec, output_spec = _In, _Out
    _always_run = True

    def _run_interface(self, runtime):
        inputs = self.inputs
        if json.loads(os.environ.get(VARIABLE, '{}')).get(inputs.unit.name) == 'raise':
            raise ValueError('the normalisation went wrong')
        publish_fake_space(inputs.unit, inputs.template, inputs.settings, Path(runtime.cwd))
        self._results['done'] = True
        return runtime


def init_spaces_wf(*, settings, units, name='bidsreg_spaces_wf'):
    """Build a graph of the same form as the real one."""
    workflow = pe.Workflow(name)
    for unit, template in units:
        inner = pe.Workflow(unit.node_name)
        interface = PublishFake(unit=unit, template=template, settings=settings)
        inner.add_nodes([pe.Node(interface, name='publish')])
        workflow.add_nodes([inner])
    return workflow
