"""The last node of a normalisation: its lists and files come into their places by their keys."""

from __future__ import annotations

import json
from pathlib import Path

from bidsreg.bids.normalisations import normalisation_outputs, why_not_normalised
from bidsreg.interfaces.publish_space import PublishSpace
from bidsreg.reports.spaces import SPACE_PICTURES, space_picture_path
from tests.fake_spaces import SVG, fake_space_files
from tests.reports.spaces import make_normalised


def test_everything_is_published_and_the_qc_file_named(tmp_path):
    made = make_normalised(tmp_path)
    unit, settings = made.units[0], made.settings
    for path in settings.output_dir.rglob('sub-01*'):
        if path.is_file():
            path.unlink()
    files = {key: str(path) for key, path in fake_space_files(unit, made.template, tmp_path / 'again').items()}
    figures = []
    for name in SPACE_PICTURES:
        figures.append(str(tmp_path / f'{name}.svg'))
        Path(figures[-1]).write_text(SVG)
    node = PublishSpace(
        unit=unit,
        settings=settings,
        facts={'mask_method': 'm'},
        figures=figures,
        images=[files['image_res-1'], files['image_res-2']],
        masks=[files['mask_res-1'], files['mask_res-2']],
        **{key: files[key] for key in ('forward', 'inverse', 'jacobian', 'preproc', 'brain')},
    )
    found = node.run(cwd=str(tmp_path)).outputs
    paths = normalisation_outputs(unit, settings.output_dir)
    assert found.out_file == str(paths['qc'])
    assert json.loads(paths['qc'].read_text())['mask_method'] == 'm'
    assert why_not_normalised(unit, settings) is None
    assert paths['image_res-2'].stat().st_size != paths['image_res-1'].stat().st_size
    for name in SPACE_PICTURES:
        assert space_picture_path(unit.entities, settings.output_dir, name, 'T1w').is_file()
