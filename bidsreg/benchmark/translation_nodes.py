"""The nodes of a benchmark that train a translation, and that translate a moving image."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nipype.pipeline import engine as pe

from bidsreg.benchmark.translating import FitTranslation, Translate
from bidsreg.execution.devices import resolve

if typing.TYPE_CHECKING:
    from bidsreg.benchmark.case import Case
    from bidsreg.benchmark.folds import LeftOut
    from bidsreg.benchmark.methods import Method
    from bidsreg.benchmark.settings import BenchmarkSettings

#: GB of a training, and of a translation: twice what the largest resident set of CycleGAN's was on twelve brains of
#: 2 mm (0.73), for `not-weak` works on 16 slices at once.
TRANSLATION_GB = 1.5


def plain_name(name: str) -> str:
    """Return a name as Nipype takes it for a node."""
    return re.sub(r'\W', '_', name)


def translations_of(methods: Iterable[tuple[Method, Mapping[str, Any]]]) -> list[str]:
    """List the translations that methods need, each once."""
    return list(dict.fromkeys(method.translation for method, _ in methods if method.translation))


def fit_name(recipe: str, left_out: LeftOut) -> str:
    """Return the name of the node that trains a translation without some groups of heads."""
    return f'fit_{plain_name(recipe)}_without_{"_".join(map(str, left_out))}'


def fit_node(*, recipe: str, name: str, scans: Sequence[tuple[Case, str]], settings: BenchmarkSettings) -> pe.Node:
    """Make a node that trains a translation; its images and masks are to be connected, in the order of the scans.

    Parameters
    ----------
    recipe, name
        Of the translation, and of the node.
    scans
        Pairs, and which of their ends.
    settings
        What was asked for.
    """
    steps = {} if settings.translation_steps is None else {'steps': settings.translation_steps}
    fit = FitTranslation(
        method=recipe,
        heads=[case.heads[end] for case, end in scans],
        contrasts=[end for _, end in scans],
        seed=settings.random_seed,
        sloppy=settings.sloppy,
        **_running(settings),
        **steps,
    )
    return pe.Node(fit, name=name, n_procs=_processes(settings), mem_gb=TRANSLATION_GB)


def translate_node(*, recipe: str, settings: BenchmarkSettings) -> pe.Node:
    """Make a node that translates a moving image."""
    translate = Translate(**_running(settings))
    name = f'translate_{plain_name(recipe)}'
    return pe.Node(translate, name=name, n_procs=_processes(settings), mem_gb=TRANSLATION_GB)


def _running(settings: BenchmarkSettings) -> dict[str, Any]:
    """Return how a translation is run: where, and on how many threads."""
    device = resolve(settings.device)
    return {'device': device, 'threads': settings.omp_nthreads, 'use_gpu': device != 'cpu'}


def _processes(settings: BenchmarkSettings) -> int:
    # for a node on a GPU, Nipype takes the processes for GPUs
    return 1 if resolve(settings.device) != 'cpu' else settings.omp_nthreads
