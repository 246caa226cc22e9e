"""What the steps share: a Nipype interface that reports how long it took."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod

from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    DynamicTraitedSpec,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)
from nipype.interfaces.io import add_traits


class StepInputSpec(BaseInterfaceInputSpec):
    """Inputs that every step has: none of its own."""


class StepOutputSpec(TraitedSpec):
    """Outputs that every step has."""

    seconds = traits.Float(desc='wall-clock seconds the step took')


class Step(SimpleInterface, ABC):
    """A Nipype interface whose subclasses write :meth:`_compute` and fill ``self._results``.

    The wall-clock seconds of a step are one of its outputs, so that a cached node still reports what it cost.
    """

    input_spec = StepInputSpec
    output_spec = StepOutputSpec

    def _run_interface(self, runtime):
        start = time.perf_counter()
        self._compute(runtime)
        self._results['seconds'] = round(time.perf_counter() - start, 3)
        return runtime

    @abstractmethod
    def _compute(self, runtime) -> None:
        """Do the work in ``runtime.cwd`` and put the outputs into ``self._results``."""


class _TimingOutputSpec(TraitedSpec):
    seconds = traits.Dict(desc='what came in, by name')


class Timing(SimpleInterface):
    """Collect the seconds of several steps, or of several rooms, into one dictionary.

    Parameters
    ----------
    steps
        Names of the inputs to make; each takes a number, or the dictionary of another :class:`Timing`.
    """

    input_spec = DynamicTraitedSpec
    output_spec = _TimingOutputSpec

    def __init__(self, steps=(), **inputs):
        super().__init__(**inputs)
        self._steps = list(steps)
        add_traits(self.inputs, self._steps)

    def _run_interface(self, runtime):
        given = {step: getattr(self.inputs, step) for step in self._steps}
        self._results['seconds'] = {step: value for step, value in given.items() if isdefined(value)}
        return runtime
