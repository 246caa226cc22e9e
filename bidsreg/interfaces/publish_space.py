"""The last node of a normalisation: its files go to the derivatives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nipype.interfaces.base import DynamicTraitedSpec, File, InputMultiObject, isdefined, traits
from nipype.interfaces.io import add_traits

from bidsreg.bids.normalisations import on_grid
from bidsreg.interfaces.base import Step, StepOutputSpec, given

#: Outputs of the graph of a normalisation that are one file each.
SINGLE = ('forward', 'inverse', 'jacobian')
#: What is published of a scan that no pair has left.
OWN = ('preproc', 'brain')


class _PublishSpaceInputSpec(DynamicTraitedSpec):
    unit = traits.Any(mandatory=True, desc='bidsreg.bids.normalisations.Normalisation')
    settings = traits.Any(mandatory=True, nohash=True, desc='bidsreg.settings.Settings')
    facts = traits.Dict(mandatory=True, desc='what goes into the QC file')
    figures = InputMultiObject(File(exists=True), desc='SVG, named as the pictures of bidsreg.reports.spaces')
    images = InputMultiObject(File(exists=True), mandatory=True, desc='the reference scan on each of the grids')
    masks = InputMultiObject(File(exists=True), mandatory=True, desc='its brain mask on each of the grids')
    forward = File(exists=True, mandatory=True, desc='brings the reference scan onto the template')
    inverse = File(exists=True, mandatory=True, desc='the other direction')
    jacobian = File(exists=True, mandatory=True, desc='Jacobian determinant of the deformation')
    preproc = File(exists=True, desc='the reference scan, where no pair has left it')
    brain = File(exists=True, desc='its brain mask')


class _PublishSpaceOutputSpec(StepOutputSpec):
    out_file = File(desc='the QC file, which is there once everything else is')


class PublishSpace(Step):
    """Publish the files of one normalisation, each by an atomic write, the QC file last.

    For each of its pairs there are the inputs ``pair0_forward``, ``pair0_inverse`` and ``pair0_images``, and for all
    that is brought along ``KEY_images``. It always runs, for derivatives that were removed come back from a work folder
    that is still there.

    Parameters
    ----------
    pairs
        How many pairs there are.
    along
        The keys of what is brought along: those of :attr:`bidsreg.bids.normalisations.Normalisation.carried`.
    """

    input_spec = _PublishSpaceInputSpec
    output_spec = _PublishSpaceOutputSpec
    _always_run = True

    def __init__(self, pairs: int = 0, along: Sequence[str] = (), **inputs: Any) -> None:
        super().__init__(**inputs)
        self._pairs, self._along = pairs, along
        names = [f'pair{number}_{part}' for number in range(pairs) for part in ('forward', 'inverse', 'images')]
        add_traits(self.inputs, [*names, *(f'{key}_images' for key in along)])

    def _compute(self, runtime: Any) -> None:
        from bidsreg.bids.publish_normalisation import publish_normalisation
        from bidsreg.reports.spaces import space_picture_path

        inputs, unit, settings = self.inputs, self.inputs.unit, self.inputs.settings
        files: dict[str, str] = given(inputs, (*SINGLE, *OWN))
        lists = {'image': inputs.images, 'mask': inputs.masks}
        for number in range(self._pairs):
            key = f'pair{number}'
            files |= {f'{key}_{part}': getattr(inputs, f'{key}_{part}') for part in ('forward', 'inverse')}
            lists[f'{key}_image'] = getattr(inputs, f'{key}_images')
        lists |= {key: getattr(inputs, f'{key}_images') for key in self._along}
        for key, made in lists.items():
            made = made if isinstance(made, list) else [made]
            files |= {on_grid(key, grid): path for grid, path in zip(unit.space.grids, made, strict=True)}
        found = map(Path, inputs.figures if isdefined(inputs.figures) else ())
        figures = {
            space_picture_path(unit.entities, settings.output_dir, path.stem, unit.contrast): path for path in found
        }
        paths = {key: Path(path) for key, path in files.items()}
        self._results['out_file'] = str(publish_normalisation(paths, unit, settings, inputs.facts, figures))
