"""Ratios with pretended work: a small map where the real graph would make one, in the real place."""

from __future__ import annotations

import json
import os

from nipype.interfaces.base import BaseInterfaceInputSpec, SimpleInterface, TraitedSpec, traits
from nipype.pipeline import engine as pe

from bidsreg.bids.names import pair_outputs
from bidsreg.bids.ratios import publish_ratio
from bidsreg.errors import InputError
from tests.fake_app import VARIABLE

#: How a ratio was made.
MADE = {'without': 0.0, 'clamped': 0.0, 'ceiling': 3.0, 'median': {'white': 1.0, 'grey': 0.5}}


class _In(BaseInterfaceInputSpec):
    unit = traits.Any(mandatory=True)
    settings = traits.Any(mandatory=True, nohash=True)


class _Out(TraitedSpec):
    done = traits.Bool()


class PublishFake(SimpleInterface):
    """Publishes what a ratio would leave, or fails as it is told."""

    input_spec, output_spec = _In, _Out
    _always_run = True

    def _run_interface(self, runtime):
        pair, settings = self.inputs.unit.pair, self.inputs.settings
        if json.loads(os.environ.get(VARIABLE, '{}')).get(self.inputs.unit.name) == 'input':
            raise InputError('there is nothing to take a ratio of')
        image = pair_outputs(pair, settings.output_dir)['fixed_preproc']
        publish_ratio(image, pair, settings, {**MADE, 'kind': settings.ratio}, {'ratio': 1.0}, {})
        self._results['done'] = True
        return runtime


def init_ratios_wf(*, settings, units, name='bidsreg_ratios_wf'):
    """Build a graph of the same form as the real one."""
    workflow = pe.Workflow(name)
    for unit in units:
        inner = pe.Workflow(unit.node_name)
        inner.add_nodes([pe.Node(PublishFake(unit=unit, settings=settings), name='publish')])
        workflow.add_nodes([inner])
    return workflow
