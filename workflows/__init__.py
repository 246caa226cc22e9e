"""The Nipype graphs: the whole run, one pair, and a pair's four rooms, each of which works in anybody's graph.

:mod:`.app` has the graph of a run, :mod:`.pair` that of one pair; :mod:`.masking`, :mod:`.prealign`,
:mod:`.registration` and :mod:`.quality` are its rooms, in the order of the work. :mod:`.normalisation` takes a person
to a template, :mod:`.space` has that of one person in a run. :mod:`.resources` says how much memory each step is
declared to take. :mod:`.ratio` is a room to ask for.

Names are imported on first use, so that the package can be imported without waiting for Nipype.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bidsreg.workflows.app import init_bidsreg_wf
    from bidsreg.workflows.masking import init_masking_wf
    from bidsreg.workflows.normalisation import init_normalisation_wf
    from bidsreg.workflows.pair import init_pair_wf
    from bidsreg.workflows.pair_ratio import init_pair_ratio_wf
    from bidsreg.workflows.prealign import init_prealign_wf
    from bidsreg.workflows.quality import init_quality_wf
    from bidsreg.workflows.ratio import init_ratio_wf
    from bidsreg.workflows.registration import init_registration_wf
    from bidsreg.workflows.space import init_space_wf

_HOMES = {
    'init_bidsreg_wf': 'app',
    'init_masking_wf': 'masking',
    'init_normalisation_wf': 'normalisation',
    'init_pair_ratio_wf': 'pair_ratio',
    'init_pair_wf': 'pair',
    'init_prealign_wf': 'prealign',
    'init_quality_wf': 'quality',
    'init_ratio_wf': 'ratio',
    'init_registration_wf': 'registration',
    'init_space_wf': 'space',
}

__all__ = [
    'init_bidsreg_wf',
    'init_masking_wf',
    'init_normalisation_wf',
    'init_pair_ratio_wf',
    'init_pair_wf',
    'init_prealign_wf',
    'init_quality_wf',
    'init_ratio_wf',
    'init_registration_wf',
    'init_space_wf',
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'{__name__}.{_HOMES[name]}'), name)
