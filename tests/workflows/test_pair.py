"""The graph of one pair."""

import dataclasses

from bidsreg.bids.pairs import find_pairs
from bidsreg.settings import Settings
from bidsreg.workflows import init_pair_wf
from tests.graph_fixtures import expanded


def test_a_broken_header_is_left_to_its_node(bids, tmp_path):
    """Building the graph of a pair whose file is broken must not end the run of the others."""
    settings = Settings(bids_dir=bids, output_dir=tmp_path / 'out', work_dir=tmp_path / 'work')
    (one, _) = find_pairs(settings).pairs
    (tmp_path / 'broken.nii.gz').write_bytes(b'')
    assert expanded(init_pair_wf(pair=dataclasses.replace(one, fixed=tmp_path / 'broken.nii.gz'), settings=settings))
