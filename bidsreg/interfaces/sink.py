"""The last node of a pair: its files go to the derivatives."""

from __future__ import annotations

from pathlib import Path

from nipype.interfaces.base import File, isdefined, traits

from bidsreg.interfaces.base import Step, StepInputSpec, StepOutputSpec

FILES = (
    't1w_preproc',
    't1w_mask',
    't2w_mask',
    't2w_in_t1w',
    't1w_in_t2w',
    'jacobian',
    'forward_xfm',
    'inverse_xfm',
    'affine_xfm',
)


class _PublishPairInputSpec(StepInputSpec):
    pair = traits.Any(mandatory=True, desc='bidsreg.bids.pairs.Pair')
    settings = traits.Any(mandatory=True, nohash=True, desc='bidsreg.settings.Settings')
    facts = traits.Dict(mandatory=True, desc='what goes into the QC file')
    t1w_preproc = File(exists=True, mandatory=True, desc='T1w as it was used')
    t1w_mask = File(exists=True, mandatory=True, desc='its brain mask')
    t2w_mask = File(exists=True, mandatory=True, desc='brain mask of the T2w')
    t2w_in_t1w = File(exists=True, mandatory=True, desc='T2w on the grid of the T1w')
    t1w_in_t2w = File(exists=True, mandatory=True, desc='T1w on the grid of the T2w')
    jacobian = File(exists=True, mandatory=True, desc='Jacobian determinant')
    forward_xfm = File(exists=True, mandatory=True, desc='brings T2w data onto the grid of the T1w')
    inverse_xfm = File(exists=True, mandatory=True, desc='brings T1w data onto the grid of the T2w')
    affine_xfm = File(exists=True, mandatory=True, desc='the affine part alone')
    figures = traits.List(File(exists=True), desc='SVG, named as the pictures of bidsreg.reports.pictures')


class _PublishPairOutputSpec(StepOutputSpec):
    out_file = File(desc='the QC file, which is there once everything else is')


class PublishPair(Step):
    """Publish the files of one pair: whole or not at all, the QC file last.

    It always runs, for derivatives that were removed come back from a work folder that is still there.
    """

    input_spec = _PublishPairInputSpec
    output_spec = _PublishPairOutputSpec
    _always_run = True

    def _compute(self, runtime):
        from bidsreg.bids.derivatives import pair_outputs, publish
        from bidsreg.reports.pictures import picture_path

        inputs, pair, settings = self.inputs, self.inputs.pair, self.inputs.settings
        found = map(Path, inputs.figures if isdefined(inputs.figures) else ())
        figures = {picture_path(pair.entities, settings.output_dir, path.stem): path for path in found}
        files = {name: Path(getattr(inputs, name)) for name in FILES}
        publish(files, pair, settings, inputs.facts, figures)
        self._results['out_file'] = str(pair_outputs(pair, settings.output_dir)['qc'])
