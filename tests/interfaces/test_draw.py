"""The node of a picture."""

import json
from pathlib import Path

import pytest

from bidsreg.interfaces.draw import Draw


def test_figures_are_drawn(rigid_pair, here, tmp_path):
    step = {'level': 4.0, 'iteration': 0, 'loss': 1.0, 'similarity': 0.9, 'regularity': 0.1}
    (tmp_path / 'result.json').write_text(json.dumps({'method': 'node-mind', 'loss_history': [step] * 5}))
    result = str(tmp_path / 'result.json')
    _, paths = rigid_pair
    fixed, mask = str(paths['fixed']), str(paths['fixed_mask'])
    for inputs in (
        {'picture': 'before', 'fixed': fixed, 'moving': fixed, 'fixed_mask': mask},
        {'picture': 'before', 'fixed': fixed, 'moving': str(paths['moving'])},
        {'picture': 'mask_fixed', 'fixed': fixed, 'fixed_mask': mask},
        {'picture': 'loss', 'result': result},
    ):
        out = Path(Draw(**inputs).run().outputs.out_file)
        assert out.name == f'{inputs["picture"]}.svg'
        assert '<svg' in out.read_text()
    with pytest.raises(ValueError, match='cannot be drawn without fixed_mask'):
        Draw(picture='mask_fixed', fixed=fixed).run()
