"""The steps that only a benchmark has, as Nipype interfaces: where the brain is, and the judgement."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from nipype.interfaces.base import File, isdefined, traits

from bidsreg.benchmark.files import read_labels
from bidsreg.benchmark.masks import filled_union
from bidsreg.bids.images import load_image
from bidsreg.interfaces.base import Step, StepInputSpec, StepOutputSpec, given
from bidsreg.interfaces.skullstrip import BrainMask
from bidsreg.preparation.ants import new_image
from bidsreg.preparation.grids import stem
from bidsreg.preparation.spaces import cut_out
from bidsreg.registration.itk import read_affine, write_affine
from bidsreg.stripped import stripped_already


class _CaseMaskInputSpec(StepInputSpec):
    in_file = File(exists=True, mandatory=True, desc='image, conformed')
    user_mask = File(exists=True, desc='brain mask on its grid; it is taken before all else')
    labels = File(exists=True, desc='label image on its grid')
    values = traits.List(traits.Int, desc='the labels that lie in the brain')
    contrast = traits.Str(desc='suffix of the image, for the words of errors; T1w without it')
    num_threads = traits.Range(low=1, value=1, usedefault=True, nohash=True, desc='threads of the brain extraction')


class _CaseMaskOutputSpec(StepOutputSpec):
    out_mask = File(desc='brain mask, uint8, on the grid of the image')
    method = traits.Str(desc='how it came about')


class CaseMask(Step):
    """Find the brain in an image of a benchmark; every method gets the same mask.

    The mask that was given; else what is not zero in a skull-stripped image; else the union of the labels, its holes
    filled; else deepbet's.
    """

    input_spec = _CaseMaskInputSpec
    output_spec = _CaseMaskOutputSpec

    def _compute(self, runtime: Any) -> None:
        inputs = self.inputs
        image = load_image(inputs.in_file)
        by_labels = isdefined(inputs.labels) and not isdefined(inputs.user_mask)
        if by_labels and not stripped_already(np.asanyarray(image.dataobj), image.affine)[0]:
            self._results['method'] = 'union of the labels'
            self._results['out_mask'] = os.path.join(runtime.cwd, f'{stem(inputs.in_file)}_mask.nii.gz')
            inside = filled_union(read_labels(inputs.labels), inputs.values)
            new_image(inside.astype('uint8'), image).to_filename(self._results['out_mask'])
            return
        options = given(inputs, ('user_mask', 'contrast'))
        step = BrainMask(in_file=inputs.in_file, num_threads=inputs.num_threads, **options)
        found = step.run(cwd=runtime.cwd).outputs
        self._results['out_mask'], self._results['method'] = found.out_mask, found.method


class _StripInputSpec(StepInputSpec):
    in_file = File(exists=True, mandatory=True, desc='image, conformed')
    mask = File(exists=True, mandatory=True, desc='brain mask on its grid')


class _StripOutputSpec(StepOutputSpec):
    out_file = File(desc='the image, zero outside of the mask')


class Strip(Step):
    """Leave only the brain in an image."""

    input_spec = _StripInputSpec
    output_spec = _StripOutputSpec

    def _compute(self, runtime: Any) -> None:
        self._results['out_file'] = os.path.join(runtime.cwd, f'{stem(self.inputs.in_file)}_brain.nii.gz')
        cut_out(self.inputs.in_file, self.inputs.mask).to_filename(self._results['out_file'])


class _EvaluateInputSpec(StepInputSpec):
    method = traits.Str(mandatory=True, desc='what is judged')
    fixed = File(exists=True, mandatory=True, desc='fixed image as the methods got it')
    fixed_mask = File(exists=True, mandatory=True, desc='its brain mask')
    moving = File(exists=True, mandatory=True, desc='moving image as the methods got it')
    affine = File(exists=True, desc='prealignment; the identity without it')
    forward = File(exists=True, desc='composite transform of the method; without it, the affine alone is judged')
    inverse = File(exists=True, desc='its inverse')
    result = File(exists=True, desc='result.json of the method')
    method_seconds = traits.Float(desc='wall-clock seconds of the method')
    method_cpu_seconds = traits.Float(desc='CPU seconds of the method and all that it started')
    fixed_labels = File(exists=True, desc='label image on the grid of the fixed image')
    moving_labels = File(exists=True, desc='label image on the grid of the moving image')
    labels = traits.Dict(desc='names of the labels that count, by value')
    points = File(exists=True, desc='table of places that are the same')
    facts = traits.Dict(desc='what else goes into the cell')
    translation = traits.Dict(desc='what is known of the translation of the moving image')
    cell = traits.Str(mandatory=True, desc='JSON file to write')
    example = traits.Str(desc='where to leave the image of the panel; labels go beside it')


class _EvaluateOutputSpec(StepOutputSpec):
    out_file = File(desc='the cell: all numbers about this method on this pair')


class Evaluate(Step):
    """Judge a method on a pair by its own field, and write what was found into the folder of the results.

    It always runs, for results that were removed come back from a work folder that is still there.
    """

    input_spec = _EvaluateInputSpec
    output_spec = _EvaluateOutputSpec
    _always_run = True

    def _compute(self, runtime: Any) -> None:
        # torch stays out of the process that plans
        from bidsreg.benchmark.cell import judge_cell

        judge_cell(**given(self.inputs, self.inputs.copyable_trait_names()))
        self._results['out_file'] = self.inputs.cell


class _MapStartInputSpec(StepInputSpec):
    between = File(exists=True, mandatory=True, desc='matrix, world of the first T1w to that of the second')
    fixed_to_scan = File(exists=True, desc='matrix, world of the first T1w to that of the fixed scan of its session')
    moving_to_scan = File(exists=True, desc='matrix, world of the second T1w to that of the moving scan of its session')


class _MapStartOutputSpec(StepOutputSpec):
    out_file = File(desc='ITK .txt, world of the fixed scan to that of the moving scan')


class MapStart(Step):
    """Put together the matrix from a scan of one session to a scan of another, through the T1w of both."""

    input_spec = _MapStartInputSpec
    output_spec = _MapStartOutputSpec

    def _compute(self, runtime: Any) -> None:
        optional = given(self.inputs, ('fixed_to_scan', 'moving_to_scan'))
        start, last = (
            read_affine(optional[name]) if name in optional else np.eye(4)
            for name in ('fixed_to_scan', 'moving_to_scan')
        )
        self._results['out_file'] = os.path.join(runtime.cwd, 'start.txt')
        write_affine(self._results['out_file'], last @ read_affine(self.inputs.between) @ np.linalg.inv(start))


class _EvaluateRescanInputSpec(StepInputSpec):
    method = traits.Str(mandatory=True, desc='what is judged')
    fixed = traits.List(File(exists=True), mandatory=True, desc='fixed scan of each map, as the methods got it')
    fixed_mask = traits.List(File(exists=True), mandatory=True, desc='its brain mask')
    moving = traits.List(File(exists=True), mandatory=True, desc='moving scan of each map')
    affine = traits.List(File(exists=True), mandatory=True, desc='prealignment of each map')
    forward = traits.List(File(exists=True), desc='composite transforms of the method; without, the affine is judged')
    inverse = traits.List(File(exists=True), desc='their inverses')
    result = traits.List(File(exists=True), desc='result.json of each map')
    method_seconds = traits.List(traits.Float, desc='wall-clock seconds of the method for each map')
    method_cpu_seconds = traits.List(traits.Float, desc='CPU seconds of the method and all that it started')
    fixed_to_t2w = File(exists=True, mandatory=True, desc='matrix from the first T1w to the T2w of its session')
    moving_to_t2w = File(exists=True, mandatory=True, desc='the same of the second session')
    facts = traits.Dict(desc='what else goes into the cell')
    cell = traits.Str(mandatory=True, desc='JSON file to write')
    example = traits.Str(desc='where to leave the image of the panel')


class EvaluateRescan(Step):
    """Judge the three maps of a method between two sessions, and write what was found into the folder of the results.

    It always runs, as :class:`Evaluate` does.
    """

    input_spec = _EvaluateRescanInputSpec
    output_spec = _EvaluateOutputSpec
    _always_run = True

    def _compute(self, runtime: Any) -> None:
        # torch stays out of the process that plans
        from bidsreg.benchmark.rescan_cell import judge_rescan

        judge_rescan(**given(self.inputs, self.inputs.copyable_trait_names()))
        self._results['out_file'] = self.inputs.cell
