"""The whole run: every pair beside the others."""

from __future__ import annotations

import typing
from collections.abc import Iterable

from nipype.pipeline import engine as pe

from bidsreg.workflows.pair import init_pair_wf

if typing.TYPE_CHECKING:
    from bidsreg.bids.pairs import Pair
    from bidsreg.settings import Settings


def init_bidsreg_wf(*, settings: Settings, pairs: Iterable[Pair], name: str = 'bidsreg_wf') -> pe.Workflow:
    """Build the graph of a whole run.

    No edge leads from one pair to another, so a pair that fails cannot stop the rest.

    Parameters
    ----------
    settings
        The settings of the run.
    pairs
        The pairs to register.
    name
        Name of the workflow.
    """
    workflow = pe.Workflow(name=name)
    workflow.add_nodes([init_pair_wf(pair=pair, settings=settings) for pair in pairs])
    return workflow
