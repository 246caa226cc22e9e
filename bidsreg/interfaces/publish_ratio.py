"""The last node of a ratio: the map goes to the derivatives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nipype.interfaces.base import File, traits

from bidsreg.interfaces.base import Step, StepInputSpec, StepOutputSpec


class _PublishRatioInputSpec(StepInputSpec):
    pair = traits.Any(mandatory=True, desc='bidsreg.bids.pairs.Pair')
    settings = traits.Any(mandatory=True, nohash=True, desc='bidsreg.settings.Settings')
    ratio = File(exists=True, mandatory=True, desc='the map')
    facts = traits.Dict(mandatory=True, desc='how it was made')
    figure = File(exists=True, mandatory=True, desc='SVG, named as the picture of bidsreg.reports.pictures')
    seconds = traits.Dict(mandatory=True, desc='wall-clock seconds of the steps')


class _PublishRatioOutputSpec(StepOutputSpec):
    out_file = File(desc='the map in the derivatives, which is there once everything else is')


class PublishRatio(Step):
    """Publish the ratio of one finished pair: :func:`bidsreg.bids.ratios.publish_ratio` as a node that always runs."""

    input_spec = _PublishRatioInputSpec
    output_spec = _PublishRatioOutputSpec
    _always_run = True

    def _compute(self, runtime: Any) -> None:
        from bidsreg.bids.ratios import publish_ratio
        from bidsreg.reports.pictures import picture_path

        inputs, pair, settings = self.inputs, self.inputs.pair, self.inputs.settings
        figure = Path(inputs.figure)
        figures = {picture_path(pair, settings.output_dir, figure.stem): figure}
        goal = publish_ratio(Path(inputs.ratio), pair, settings, inputs.facts, inputs.seconds, figures)
        self._results['out_file'] = str(goal)
