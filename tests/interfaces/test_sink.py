"""The node that publishes a pair."""

from bidsreg.bids.names import PRODUCTS, figure_path, pair_outputs
from bidsreg.bids.pairs import find_pairs
from bidsreg.bids.publish import is_complete, read_qc
from bidsreg.interfaces.sink import FILES, PublishPair
from bidsreg.settings import Settings
from tests import data

RESULT = {'method': 'node-mind', 'decision': {'kept': 'diffeo', 'reason': 'better'}}


def test_it_takes_every_product_but_the_qc_file():
    traits = PublishPair().inputs.traits()
    assert {name for name in traits if name in PRODUCTS} == set(FILES) == set(PRODUCTS) - {'qc'}
    assert all(traits[name].mandatory and traits[name].desc for name in FILES)


def test_publish_puts_every_file_in_its_place(tmp_path, here):
    bids = data.write_dataset(tmp_path / 'bids')
    settings = Settings(bids_dir=bids, output_dir=tmp_path / 'out', work_dir=tmp_path / 'work')
    (pair,) = find_pairs(settings).pairs
    files = {}
    for name in (*FILES, 'before.svg', 'mask_fixed.svg'):
        files[name] = str(tmp_path / name)
        (tmp_path / name).write_text(name)
    figures = [files.pop('before.svg'), files.pop('mask_fixed.svg')]
    node = PublishPair(pair=pair, settings=settings, facts={'result': RESULT}, figures=figures, **files)
    assert node._always_run
    out = node.run().outputs.out_file
    goals = pair_outputs(pair, settings.output_dir)
    assert out == str(goals['qc'])
    for name in FILES:
        assert goals[name].read_text() == name
    assert figure_path(pair.entities, settings.output_dir, 'before').read_text() == 'before.svg'
    assert figure_path(pair.entities, settings.output_dir, 'mask', 'T1w').read_text() == 'mask_fixed.svg'
    assert read_qc(pair, settings)['result'] == RESULT
    assert is_complete(pair, settings)
