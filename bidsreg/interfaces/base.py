"""The base of the steps: a Nipype interface that reports how long it took, and the node that collects that."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
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

from bidsreg.bids.nifti import check_to_end
from bidsreg.checksums import require_whole, write_checksums

#: What Nipype leaves in the folder of a node before the step begins.
NODE_FILE = '_node.pklz'


def given(inputs: Any, names: Iterable[str]) -> dict[str, Any]:
    """Return those of an interface's inputs that are set, by their names."""
    values = {name: getattr(inputs, name) for name in names}
    return {name: value for name, value in values.items() if isdefined(value)}


def require_whole_inputs(inputs: Any) -> None:
    """Raise unless every file among the inputs of an interface is as it was written, whoever reads it then, and how.

    What a step of the graph has made has the checksum that was noted; other files that are compressed, such as those of
    the derivatives, are read to their own.

    Raises
    ------
    DamagedFileError
        As :func:`bidsreg.checksums.require_whole`.
    InputError
        If a file that no step has made is damaged.
    """
    for path in dict.fromkeys(_files(inputs.get().values())):
        if not require_whole(path):
            check_to_end(path)


def note_outputs(folder: Path) -> None:
    """Note the checksums of what a step has left in its folder, where that is one of a graph.

    A step that runs alone works in the folder of whoever calls it, where other files lie as well.
    """
    if (folder / NODE_FILE).is_file():
        write_checksums(folder)


def _files(values: Iterable[Any]) -> Iterator[Path]:
    """Yield the files that are there among values, and in lists among them."""
    for value in values:
        if isinstance(value, list | tuple):
            yield from _files(value)
        elif isinstance(value, str) and os.path.isabs(value) and os.path.isfile(value):
            yield Path(value)


class StepInputSpec(BaseInterfaceInputSpec):
    """The inputs that every step has; there are none."""


class StepOutputSpec(TraitedSpec):
    """The outputs that every step has."""

    seconds = traits.Float(desc='wall-clock seconds the step took')


class Step(SimpleInterface, ABC):
    """A Nipype interface whose subclasses write :meth:`_compute` and fill ``self._results``.

    The wall-clock seconds of a step are one of its outputs, so that a cached node still reports what it cost. Checksums
    of the files that it leaves lie beside them, by which later steps and the next run know whether they are still
    whole: nothing is computed from a file that is not.
    """

    input_spec = StepInputSpec
    output_spec = StepOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        start = time.perf_counter()
        require_whole_inputs(self.inputs)
        self._compute(runtime)
        self._results['seconds'] = round(time.perf_counter() - start, 3)
        note_outputs(Path(runtime.cwd))
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
