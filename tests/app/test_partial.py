"""What a failed pair leaves for its report: the pictures and numbers of the steps that ended well, and of no other."""

import dataclasses
import json
import os
import shlex
import shutil
import sys

import pytest
from nipype import config

from bidsreg.app.partial import keep_partial
from bidsreg.bids.names import partial_path
from bidsreg.bids.pairs import find_pairs
from bidsreg.reports.pictures import PICTURES, picture_path
from bidsreg.settings import Settings
from bidsreg.workflows.app import init_bidsreg_wf


@pytest.fixture(scope='module')
def ended(bids, tmp_path_factory):
    """A pair whose solver fails, the settings of its run, and the folder it worked in."""
    from bidsreg.interfaces.register import Register

    tmp_path = tmp_path_factory.mktemp('ended')
    settings = Settings(
        bids_dir=bids,
        output_dir=tmp_path / 'out',
        work_dir=tmp_path / 'work',
        participant_label=('01',),
        sloppy=True,
        nprocs=1,
        device='cpu',
    )
    (pair,) = find_pairs(settings).pairs
    config.update_config({'execution': {'crashdump_dir': str(tmp_path / 'crashes'), 'stop_on_first_crash': False}})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Register, '_cmd', f'{shlex.quote(sys.executable)} -c "raise SystemExit(1)"')
        workflow = init_bidsreg_wf(settings=settings, pairs=(pair,))
        workflow.base_dir = str(settings.work_dir)
        with pytest.raises(RuntimeError):
            workflow.run(plugin='Linear')
    return pair, settings, settings.work_dir / workflow.name / pair.node_name


@pytest.fixture
def failed(ended, tmp_path):
    """The same with an output folder and a copy of the work folder of one's own."""
    pair, settings, folder = ended
    shutil.copytree(folder, tmp_path / 'pair')
    return pair, dataclasses.replace(settings, output_dir=tmp_path / 'out'), tmp_path / 'pair'


def there(pair, settings):
    return [name for name in PICTURES if picture_path(pair, settings.output_dir, name).is_file()]


@pytest.mark.slow  # rooms with the real programs
def test_what_ended_well_is_kept_and_what_another_attempt_left_is_not(failed):
    pair, settings, folder = failed
    assert keep_partial(pair, settings, folder) == ['mask_fixed', 'mask_moving', 'before', 'affine']
    assert there(pair, settings) == ['mask_fixed', 'mask_moving', 'before', 'affine']
    facts = json.loads(partial_path(pair.name, settings.output_dir).read_text())
    assert facts['pair'] == pair.name
    assert 'user' in facts['mask_method']
    assert facts['second_mask_method']
    assert 0.8 < facts['mask_evidence']['second_dice'] <= 1
    assert facts['mask_evidence']['second_beyond'] < 0.05
    # the head was turned by (3, -2, 4) degrees and moved by (3, -2, 4) mm
    assert facts['rigid']['rotation_deg'] == pytest.approx([3, -2, 4], abs=1.5)
    assert facts['linear']['kept'] in facts['linear']['mind_heldout']
    assert set(facts['seconds_per_step']) == {'masking', 'prealign'}
    assert 'result' not in facts

    # the next attempt gets no further than the brain mask: what is older is left over from this one
    newer = folder / 'masking_wf' / 'brain_mask' / 'result_brain_mask.pklz'
    later = (folder / 'prealign_wf' / 'affine' / 'result_affine.pklz').stat().st_mtime_ns + 10**9
    os.utime(newer, ns=(later, later))
    assert keep_partial(pair, settings, folder) == ['mask_fixed', 'before']
    assert there(pair, settings) == ['mask_fixed', 'before']
    facts = json.loads(partial_path(pair.name, settings.output_dir).read_text())
    # the rigid needs no mask, and is the same in every attempt
    assert 'rigid' in facts
    assert 'affine' not in facts
    assert 'linear' not in facts
    assert set(facts['masks']) == {'t1w_ml'}


@pytest.mark.slow  # rooms with the real programs
def test_a_finished_pair_of_before_is_left_alone(failed, monkeypatch):
    pair, settings, folder = failed
    monkeypatch.setattr('bidsreg.app.partial.read_qc', lambda *_: {'pair': pair.name})
    assert keep_partial(pair, settings, folder) == []
    assert there(pair, settings) == []
    assert not partial_path(pair.name, settings.output_dir).exists()


def test_without_a_work_folder_there_is_little_to_tell(bids, tmp_path):
    settings = Settings(bids_dir=bids, output_dir=tmp_path / 'out', work_dir=tmp_path / 'work')
    pair = find_pairs(settings).pairs[0]
    assert keep_partial(pair, settings, tmp_path / 'nowhere') == []
    assert set(json.loads(partial_path(pair.name, settings.output_dir).read_text())) == {'pair', 'fingerprint'}
