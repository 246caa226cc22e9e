"""Facts and pictures of one registration, and where they go."""

import json
from pathlib import Path

import nibabel as nb
import numpy as np
import pytest

from bidsreg.interfaces.base import Timing
from bidsreg.interfaces.draw import Draw
from bidsreg.interfaces.measure import MeasureQuality
from bidsreg.interfaces.sink import FILES, PublishPair
from bidsreg.preparation.affine import rigid_matrix
from bidsreg.registration.itk import write_affine

RESULT = {
    'method': 'node-mind',
    'inputs': {'fixed': '/somewhere'},
    'decision': {'kept': 'diffeo', 'reason': 'better'},
    'loss_history': [
        {'level': 4.0, 'iteration': i, 'loss': 1 / (i + 1), 'similarity': 0.9 / (i + 1), 'regularity': 0.1}
        for i in range(5)
    ],
}


@pytest.fixture
def result(tmp_path):
    (tmp_path / 'result.json').write_text(json.dumps(RESULT))
    return str(tmp_path / 'result.json')


def test_everything_known_is_in_the_facts(rigid_pair, result, here, tmp_path):
    pair, paths = rigid_pair
    mask = np.asanyarray(pair.fixed_mask.dataobj) > 0
    centre = nb.affines.apply_affine(pair.fixed.affine, np.argwhere(mask).mean(0))
    write_affine(tmp_path / 'a.txt', rigid_matrix((2, 0, 0), (0, 3, 0), centre))
    (tmp_path / 'mine.toml').write_text('[brain_volume_small]\ncheck_below = 1e6')
    out = (
        MeasureQuality(
            result=result,
            affine=str(tmp_path / 'a.txt'),
            warped=str(paths['fixed']),
            thresholds=str(tmp_path / 'mine.toml'),
            **{name: str(paths[name]) for name in ('fixed', 'moving', 'fixed_mask', 'moving_mask')},
            mask_method='given',
            t1w_findings=['thick slices'],
            t2w_findings=[],
            t1w_skull_stripped=False,
            seconds={'masking': {'n4': 1.0}},
        )
        .run()
        .outputs
    )
    facts = out.facts
    assert facts['result'] == {key: value for key, value in RESULT.items() if key != 'inputs'}
    assert facts['affine']['rotation_deg'] == pytest.approx([2, 0, 0], abs=1e-3)
    assert facts['affine']['translation_mm'] == pytest.approx([0, 3, 0], abs=1e-3)
    assert facts['masks']['t1w_ml'] == pytest.approx(mask.sum() * 4.2**3 / 1000, rel=1e-3)
    assert facts['t1w_findings'] == ['thick slices']
    assert facts['mask_method'] == 'given'
    assert 'rigid' not in facts
    assert facts['images']['t2w']['voxel_mm'] == pytest.approx([3.2, 3.2, 6.0])
    assert facts['overlap']['brain_in_view']['affine'] == 1
    assert facts['alternatives']['shift_margin'] > 0.3  # of the T1w with itself
    assert facts['verdict']['checks']['brain_volume_small']['status'] == 'CHECK'
    assert 'CHECK below 1e+06' in facts['verdict']['checks']['brain_volume_small']['threshold']
    assert facts['verdict']['checks']['mask_dice']['value'] == facts['overlap']['mask_dice']['affine']
    assert facts['seconds_per_step'] == {'masking': {'n4': 1.0}}
    assert json.loads(Path(out.out_file).read_text()) == facts


def test_figures_are_drawn(rigid_pair, result, here):
    _, paths = rigid_pair
    fixed, mask = str(paths['fixed']), str(paths['fixed_mask'])
    for inputs in (
        {'picture': 'before', 'fixed': fixed, 'moving': fixed, 'fixed_mask': mask},
        {'picture': 'before', 'fixed': fixed, 'moving': str(paths['moving'])},
        {'picture': 'mask_t1w', 'fixed': fixed, 'fixed_mask': mask},
        {'picture': 'loss', 'result': result},
    ):
        out = Path(Draw(**inputs).run().outputs.out_file)
        assert out.name == f'{inputs["picture"]}.svg'
        assert '<svg' in out.read_text()
    with pytest.raises(ValueError, match='cannot be drawn without fixed_mask'):
        Draw(picture='mask_t1w', fixed=fixed).run()


def test_timing_collects_what_there_is():
    timing = Timing(['one', 'two', 'three'])
    timing.inputs.one, timing.inputs.two = 1.5, {'a': 2.0}
    assert timing.run().outputs.seconds == {'one': 1.5, 'two': {'a': 2.0}}


def test_publish_puts_every_file_in_its_place(tmp_path, here):
    from bidsreg.bids.names import figure_path, pair_outputs
    from bidsreg.bids.pairs import find_pairs
    from bidsreg.bids.publish import is_complete, read_qc
    from bidsreg.settings import Settings
    from tests import data

    bids = data.write_dataset(tmp_path / 'bids')
    settings = Settings(bids_dir=bids, output_dir=tmp_path / 'out', work_dir=tmp_path / 'work')
    (pair,) = find_pairs(settings).pairs
    files = {}
    for name in (*FILES, 'before.svg', 'mask_t1w.svg'):
        files[name] = str(tmp_path / name)
        (tmp_path / name).write_text(name)
    figures = [files.pop('before.svg'), files.pop('mask_t1w.svg')]
    node = PublishPair(pair=pair, settings=settings, facts={'result': RESULT}, figures=figures, **files)
    assert node._always_run
    out = node.run().outputs.out_file
    goals = pair_outputs(pair, settings.output_dir)
    assert out == str(goals['qc'])
    for name in FILES:
        assert goals[name].read_text() == name
    assert figure_path(pair.entities, settings.output_dir, 'before').read_text() == 'before.svg'
    assert figure_path(pair.entities, settings.output_dir, 'mask', 'T1w').read_text() == 'mask_t1w.svg'
    assert read_qc(pair, settings)['result'] == RESULT
    assert is_complete(pair, settings)
