"""Images and transforms in a template's space as nodes."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path
from typing import Any

from nipype.interfaces.base import File, traits

from bidsreg.bids.images import load_image
from bidsreg.interfaces.base import Step, StepInputSpec, StepOutputSpec, given
from bidsreg.preparation.grids import stem
from bidsreg.preparation.spaces import BRINGING, bring_mask, chain, cut_out, pulling, scaling, sized
from bidsreg.qc.normalisation import NormalisationFiles, gather_normalisation
from bidsreg.qc.verdict import read_thresholds
from bidsreg.registration.itk import read_affine, write_affine


class _CutOutInputSpec(StepInputSpec):
    in_file = File(exists=True, mandatory=True, desc='an image, conformed')
    mask = File(exists=True, mandatory=True, desc='its brain mask')
    like = File(exists=True, desc='the brain mask of a template: another copy is made with a brain of its size')


class _CutOutOutputSpec(StepOutputSpec):
    out_file = File(desc='the image, zero outside of the mask')
    sized_file = File(desc='the same with a header that makes its brain as large as the other one')
    scaling = File(desc='ITK .txt, from the world of the copy to that of the image')


class CutOut(Step):
    """Leave only what lies in a mask: :func:`bidsreg.preparation.spaces.cut_out` as a node."""

    input_spec = _CutOutInputSpec
    output_spec = _CutOutOutputSpec

    def _compute(self, runtime: Any) -> None:
        inputs, name = self.inputs, os.path.join(runtime.cwd, stem(self.inputs.in_file))
        brain = cut_out(inputs.in_file, inputs.mask)
        self._results['out_file'] = f'{name}_brain.nii'
        brain.to_filename(self._results['out_file'])
        if like := given(inputs, ['like']).get('like'):
            matrix = scaling(load_image(like), load_image(inputs.mask))
            self._results['sized_file'] = f'{name}_sized.nii'
            sized(brain, matrix).to_filename(self._results['sized_file'])
            self._results['scaling'] = os.path.join(runtime.cwd, 'scaling.txt')
            write_affine(self._results['scaling'], matrix)


class _ScaledStartInputSpec(StepInputSpec):
    rigid = File(exists=True, mandatory=True, desc="rigid matrix, from the template's world to that of the sized scan")
    scaling = File(exists=True, mandatory=True, desc="from there to the scan's world")


class _ScaledStartOutputSpec(StepOutputSpec):
    out_matrix = File(desc='ITK .txt, from which the affine begins')


class ScaledStart(Step):
    """Put the rigid alignment and the scaling of a brain after each other: there the affine begins."""

    input_spec = _ScaledStartInputSpec
    output_spec = _ScaledStartOutputSpec

    def _compute(self, runtime: Any) -> None:
        self._results['out_matrix'] = os.path.join(runtime.cwd, 'start.txt')
        start = read_affine(self.inputs.scaling) @ read_affine(self.inputs.rigid)
        write_affine(self._results['out_matrix'], start)


class _ToSpaceInputSpec(StepInputSpec):
    in_file = File(exists=True, mandatory=True, desc='image to bring, on its own grid')
    kind = traits.Enum(*BRINGING, usedefault=True, desc='what it is, and so how it is interpolated')
    mask = File(exists=True, desc='mask of it to bring along')
    transform = File(exists=True, mandatory=True, desc='ITK composite (.h5) that brings it onto the references')
    references = traits.List(File(exists=True), mandatory=True, desc='an image on each grid that is wanted')
    template = File(exists=True, desc='an image on one grid more, which may be one of the references')
    threads = traits.Range(low=1, value=1, usedefault=True, nohash=True, desc='CPU threads')


class _ToSpaceOutputSpec(StepOutputSpec):
    out_files = traits.List(File, desc='the image on each of the grids')
    out_masks = traits.List(File, desc='the mask on each of the grids')
    warped = File(desc='the image on the grid of the template, where one was given')
    warped_mask = File(desc='the mask there')


class ToSpace(Step):
    """Bring an image, and its mask, onto several grids of a space, each with one interpolation from its own grid."""

    input_spec = _ToSpaceInputSpec
    output_spec = _ToSpaceOutputSpec

    def _compute(self, runtime: Any) -> None:
        inputs = self.inputs
        way, image = pulling(inputs.transform), load_image(inputs.in_file)
        mask_path = given(inputs, ['mask']).get('mask')
        mask = load_image(mask_path) if mask_path else None
        template = given(inputs, ['template']).get('template')
        files: dict[str, tuple[str, str]] = {}
        for number, path in enumerate(dict.fromkeys([*([template] if template else []), *inputs.references])):
            reference = load_image(path)
            files[path] = (
                os.path.join(runtime.cwd, f'image{number}.nii'),
                os.path.join(runtime.cwd, f'mask{number}.nii'),
            )
            BRINGING[inputs.kind](way, image, reference, inputs.threads).to_filename(files[path][0])
            if mask is not None:
                bring_mask(way, mask, reference, inputs.threads).to_filename(files[path][1])
        self._results['out_files'] = [files[path][0] for path in inputs.references]
        self._results['out_masks'] = [files[path][1] for path in inputs.references] if mask is not None else []
        if template:
            self._results['warped'] = files[template][0]
            if mask is not None:
                self._results['warped_mask'] = files[template][1]


class _ChainInputSpec(StepInputSpec):
    first_forward = File(exists=True, mandatory=True, desc='of the registration whose fixed image is wanted')
    first_inverse = File(exists=True, mandatory=True, desc='its other direction')
    then_forward = File(
        exists=True, mandatory=True, desc="of the one whose fixed image is the first one's moving image"
    )
    then_inverse = File(exists=True, mandatory=True, desc='its other direction')
    threads = traits.Range(low=1, value=1, usedefault=True, nohash=True, desc='CPU threads')


class _ChainOutputSpec(StepOutputSpec):
    forward = File(desc="brings the second one's moving image onto the first one's fixed image")
    inverse = File(desc='the other direction')


class ChainTransforms(Step):
    """Write two registrations that follow each other as one: :func:`bidsreg.preparation.spaces.chain` as a node."""

    input_spec = _ChainInputSpec
    output_spec = _ChainOutputSpec

    def _compute(self, runtime: Any) -> None:
        inputs = self.inputs
        for name in ('forward', 'inverse'):
            self._results[name] = os.path.join(runtime.cwd, f'{name}.h5')
        chain(
            (Path(inputs.first_forward), Path(inputs.first_inverse)),
            (Path(inputs.then_forward), Path(inputs.then_inverse)),
            Path(self._results['forward']),
            Path(self._results['inverse']),
            inputs.threads,
        )


class _MeasureSpaceInputSpec(StepInputSpec):
    template = File(exists=True, mandatory=True, desc='the template')
    template_mask = File(exists=True, mandatory=True, desc='its brain mask')
    scan = File(exists=True, mandatory=True, desc="the person's reference scan on its own grid")
    scan_mask = File(exists=True, mandatory=True, desc='its brain mask')
    scan_lesion = File(exists=True, desc='its lesions, which were left out')
    affine = File(exists=True, mandatory=True, desc="matrix, template's world to the scan's")
    rigid = File(exists=True, mandatory=True, desc='the rigid matrix before it')
    warped = File(exists=True, mandatory=True, desc='the scan on the grid of the template')
    warped_mask = File(exists=True, mandatory=True, desc='its mask there')
    result = File(exists=True, mandatory=True, desc='result.json of bidsreg-pair')
    thresholds = File(exists=True, desc="TOML with thresholds of the user's own")
    notes = traits.Dict(desc='what else belongs into the facts')
    seconds = traits.Dict(desc='wall-clock seconds of each step')


class _MeasureSpaceOutputSpec(StepOutputSpec):
    facts = traits.Dict(desc='what goes into the QC file')


class MeasureSpace(Step):
    """Gather the facts of one normalisation: :func:`bidsreg.qc.normalisation.gather_normalisation` as a node."""

    input_spec = _MeasureSpaceInputSpec
    output_spec = _MeasureSpaceOutputSpec

    def _compute(self, runtime: Any) -> None:
        files = NormalisationFiles(**given(self.inputs, (field.name for field in fields(NormalisationFiles))))
        options = given(self.inputs, ('thresholds', 'notes', 'seconds'))
        notes = {**options.get('notes', {}), 'seconds_per_step': options.get('seconds')}
        thresholds = read_thresholds(options.get('thresholds'), family='normalisation')
        self._results['facts'] = gather_normalisation(files, notes, thresholds)


class _DrawSpaceInputSpec(StepInputSpec):
    picture = traits.Str(mandatory=True, desc='its name in SPACE_PICTURES')
    template = File(exists=True, mandatory=True, desc='the template')
    template_mask = File(exists=True, mandatory=True, desc='its brain mask')
    scan = File(exists=True, mandatory=True, desc="the person's reference scan on its own grid")
    affine = File(exists=True, mandatory=True, desc="matrix, template's world to the scan's")
    warped = File(exists=True, mandatory=True, desc='the scan on the grid of the template')
    forward = File(exists=True, mandatory=True, desc='ITK composite that brings the scan onto the template')
    jacobian = File(exists=True, mandatory=True, desc='Jacobian determinant on the grid of the template')
    scan_lesion = File(exists=True, desc='lesions of the scan, which are outlined')


class _DrawSpaceOutputSpec(StepOutputSpec):
    out_file = File(desc='SVG, named as the picture')


class DrawSpace(Step):
    """Draw one of :data:`bidsreg.reports.spaces.SPACE_PICTURES`."""

    input_spec = _DrawSpaceInputSpec
    output_spec = _DrawSpaceOutputSpec

    def _compute(self, runtime: Any) -> None:
        from bidsreg.reports.spaces import SPACE_PICTURES, SpaceScene

        inputs = self.inputs
        files = given(inputs, (field.name for field in fields(SpaceScene)))
        scene = SpaceScene(**{name: Path(path) for name, path in files.items()})
        out = Path(runtime.cwd, f'{inputs.picture}.svg')
        SPACE_PICTURES[inputs.picture].draw(scene, out)
        self._results['out_file'] = str(out)
