"""The last node of a ratio."""

from __future__ import annotations

from bidsreg.bids import ratios
from bidsreg.bids.names import figure_path
from bidsreg.bids.pairs import find_pairs
from bidsreg.interfaces.publish_ratio import PublishRatio
from bidsreg.settings import Settings
from tests import data


def test_the_node_publishes_map_and_picture(tmp_path, monkeypatch):
    raw = data.write_dataset(tmp_path / 'raw', {'01': {None: ['T1w', 'T2w']}})
    settings = Settings(bids_dir=raw, output_dir=tmp_path / 'out', ratio='calibrated')
    [pair] = find_pairs(settings).pairs
    for name in ('map.nii.gz', 'ratio.svg'):
        (tmp_path / name).write_text(name)
    asked = []

    def published(*arguments):
        asked.append(arguments)
        return tmp_path / 'there.nii.gz'

    monkeypatch.setattr(ratios, 'publish_ratio', published)
    (tmp_path / 'there.nii.gz').write_text('there')
    node = PublishRatio(
        pair=pair,
        settings=settings,
        ratio=str(tmp_path / 'map.nii.gz'),
        facts={'kind': 'calibrated'},
        seconds={'ratio': 2.0},
        figure=str(tmp_path / 'ratio.svg'),
    )
    monkeypatch.chdir(tmp_path)
    assert node.run().outputs.out_file == str(tmp_path / 'there.nii.gz')
    figures = {figure_path(pair.entities, settings.output_dir, 'ratio'): tmp_path / 'ratio.svg'}
    assert asked == [(tmp_path / 'map.nii.gz', pair, settings, {'kind': 'calibrated'}, {'ratio': 2.0}, figures)]
