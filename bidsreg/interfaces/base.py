"""The base of the steps: a Nipype interface that reports how long it took, and the node that collects that."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    DynamicTraitedSpec,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)
from nipype.interfaces.io import add_traits

from bidsreg.checksums import write_checksums


def given(inputs: Any, names: Iterable[str]) -> dict[str, Any]:
    """Return those of an interface's inputs that are set, by their names."""
    values = {name: getattr(inputs, name) for name in names}
    return {name: value for name, value in values.items() if isdefined(value)}


class StepInputSpec(BaseInterfaceInputSpec):
    """The inputs that every step has; there are none."""


class StepOutputSpec(TraitedSpec):
    """The outputs that every step has."""

    seconds = traits.Float(desc='wall-clock seconds the step took')


class Step(SimpleInterface, ABC):
    """A Nipype interface whose subclasses write :meth:`_compute` and fill ``self._results``.

    The wall-clock seconds of a step are one of its outputs, so that a cached node still reports what it cost. Checksums
    of the files that it leaves lie beside them, by which the next run knows whether they are still whole.
    """

    input_spec = StepInputSpec
    output_spec = StepOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        start = time.perf_counter()
        self._compute(runtime)
        self._results['seconds'] = round(time.perf_counter() - start, 3)
        write_checksums(Path(runtime.cwd))
        return runtime

    @abstractmethod
    def _compute(self, runtime: Any) -> None:
        """Do the work in ``runtime.cwd`` and put the outputs into ``self._results``."""


class _TimingOutputSpec(TraitedSpec):
    seconds = traits.Dict(desc='the inputs that were set, by name')


class Timing(SimpleInterface):
    """Collect the seconds of several steps, or of several rooms, into one dictionary.

    Parameters
    ----------
    steps
        Names of the inputs to make; each takes a number, or the dictionary of another :class:`Timing`.
    """

    input_spec = DynamicTraitedSpec
    output_spec = _TimingOutputSpec

    def __init__(self, steps: Iterable[str] = (), **inputs: Any) -> None:
        super().__init__(**inputs)
        self._steps = list(steps)
        add_traits(self.inputs, self._steps)

    def _run_interface(self, runtime: Any) -> Any:
        self._results['seconds'] = given(self.inputs, self._steps)
        return runtime
