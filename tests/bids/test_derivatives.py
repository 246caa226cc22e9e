from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bidsreg.bids import derivatives
from bidsreg.bids.derivatives import (
    PRODUCTS,
    bids_uri,
    figure_path,
    is_complete,
    lock_pair,
    pair_outputs,
    publish,
    read_qc,
    sidecar,
    why_incomplete,
    write_dataset_files,
)
from bidsreg.bids.pairs import find_pairs
from bidsreg.errors import InputError
from bidsreg.settings import Settings
from tests import data
from tests.fake_app import fake_files

VALIDATOR = Path(sys.executable).with_name('bids-validator-deno')
SUBJECTS = {
    '01': {None: ['T1w', 'T2w', 'acq-tse_run-2_T2w']},
    '02': {'1': ['run-1_T1w', 'T2w'], '2': ['T2w']},
}


@pytest.fixture
def settings(tmp_path):
    raw = data.write_dataset(tmp_path / 'raw', SUBJECTS)
    return Settings(bids_dir=raw, output_dir=tmp_path / 'out', work_dir=tmp_path / 'work', pairing='subject')


@pytest.fixture
def pairs(settings):
    return {pair.name: pair for pair in find_pairs(settings).pairs}


@pytest.fixture
def pair(pairs):
    return pairs['sub-02_ses-2']


def finish(pair, settings, **facts):
    files = fake_files(pair, settings.work_dir / pair.name)
    figures = {}
    for desc in ('before', 'diffeo'):
        svg = settings.work_dir / f'{desc}.svg'
        svg.write_text('<svg/>')
        figures[figure_path(pair, settings.output_dir, desc)] = svg
    publish(files, pair, settings, facts, figures)


def test_names(pairs, settings):
    out = settings.output_dir
    names = {key: str(path.relative_to(out)) for key, path in pair_outputs(pairs['sub-02_ses-2'], out).items()}
    anat = 'sub-02/ses-2/anat/sub-02_ses-2'
    fixed = 'sub-02/ses-1/anat/sub-02_ses-1_run-1'  # the T1w's own entities, in its own session
    assert names == {
        't1w_preproc': f'{fixed}_desc-preproc_T1w.nii.gz',
        't1w_mask': f'{fixed}_desc-brain_mask.nii.gz',
        't2w_mask': f'{anat}_space-T2w_desc-brain_mask.nii.gz',
        't2w_in_t1w': f'{anat}_space-T1w_desc-preproc_T2w.nii.gz',
        't1w_in_t2w': f'{anat}_space-T2w_desc-preproc_T1w.nii.gz',
        'jacobian': f'{anat}_space-T1w_desc-jacobian_T2w.nii.gz',
        'forward_xfm': f'{anat}_from-T2w_to-T1w_mode-image_xfm.h5',
        'inverse_xfm': f'{anat}_from-T1w_to-T2w_mode-image_xfm.h5',
        'affine_xfm': f'{anat}_from-T2w_to-T1w_mode-image_desc-affine_xfm.txt',
        'qc': f'{anat}_desc-registration_qc.json',
    }
    several = pairs['sub-01_acq-tse_run-2']
    assert pair_outputs(several, out)['t2w_in_t1w'].name == 'sub-01_acq-tse_run-2_space-T1w_desc-preproc_T2w.nii.gz'
    assert pair_outputs(several, out)['t1w_preproc'].name == 'sub-01_desc-preproc_T1w.nii.gz'


def test_only_what_is_of_the_t1w_is_shared(pairs, settings):
    every = [path for pair in pairs.values() for path in pair_outputs(pair, settings.output_dir).items()]
    for key in PRODUCTS:
        paths = {path for name, path in every if name == key}
        assert len(paths) == (len({p.t1w for p in pairs.values()}) if PRODUCTS[key].of == 'T1w' else len(pairs))


def test_figure_names(pair):
    assert figure_path(pair, '/o', 'mask', 'T1w') == Path('/o/sub-02/figures/sub-02_ses-2_desc-mask_T1w.svg')
    assert figure_path(pair, '/o', 'summary', ext='.html').name == 'sub-02_ses-2_desc-summary_T2w.html'


def test_publish_and_complete(pair, settings):
    assert why_incomplete(pair, settings) == 'not done yet'
    finish(pair, settings, numbers=np.float32(0.5), mask_method='deepbet')
    assert is_complete(pair, settings)
    for key, path in pair_outputs(pair, settings.output_dir).items():
        assert path.stat().st_size > 0
        assert key == 'qc' or sidecar(path).is_file()
    qc = read_qc(pair, settings)
    assert qc['numbers'] == 0.5
    assert qc['fingerprint'] == settings.fingerprint()
    assert set(qc['sources']) == {
        'bids:raw:sub-02/ses-1/anat/sub-02_ses-1_run-1_T1w.nii.gz',
        'bids:raw:sub-02/ses-2/anat/sub-02_ses-2_T2w.nii.gz',
    }
    assert figure_path(pair, settings.output_dir, 'diffeo').is_file()
    assert not list((settings.output_dir / '.bidsreg' / 'tmp').iterdir())


def test_what_makes_a_pair_incomplete(pair, settings):
    finish(pair, settings)
    assert is_complete(pair, replace(settings, qc_thresholds='other.toml')), 'thresholds change no image'
    assert 'other settings' in why_incomplete(pair, replace(settings, random_seed=1))
    assert why_incomplete(pair, replace(settings, nprocs=1, run_uuid='other')) is None
    paths = pair_outputs(pair, settings.output_dir)
    for key in ('jacobian', 'qc'):
        content = paths[key].read_bytes()
        paths[key].write_bytes(b'')
        assert why_incomplete(pair, settings)
        paths[key].write_bytes(content)
    sidecar(paths['forward_xfm']).unlink()
    assert 'from-T2w_to-T1w_mode-image_xfm.json is missing' in why_incomplete(pair, settings)


def test_changed_source(pair, settings):
    finish(pair, settings)
    with pair.t2w.open('ab') as stream:
        stream.write(b'0')
    assert 'source files have changed' in why_incomplete(pair, settings)
    pair.t2w.unlink()
    assert why_incomplete(pair, settings)


def test_a_shared_t1w_rewritten_with_other_settings(pairs, settings):
    one, two = pairs['sub-01'], pairs['sub-01_acq-tse_run-2']
    finish(one, settings)
    finish(two, settings)
    assert is_complete(one, settings)
    finish(two, replace(settings, bias_correction='none'))
    assert 'rewritten with other settings' in why_incomplete(one, settings)


def test_a_moved_dataset_is_still_complete(pair, settings, tmp_path):
    finish(pair, settings)
    moved = tmp_path / 'moved'
    shutil.copytree(settings.bids_dir, moved)  # keeps times
    elsewhere = replace(settings, bids_dir=moved)
    (pair,) = (item for item in find_pairs(elsewhere).pairs if item.name == pair.name)
    assert is_complete(pair, elsewhere)


def test_failing_to_publish_leaves_no_half_file(pair, settings, monkeypatch):
    finish(pair, settings)
    files = fake_files(pair, settings.work_dir / 'again')
    before = pair_outputs(pair, settings.output_dir)['jacobian'].read_bytes()
    replaced = []

    def replace_some(one, two, real=derivatives.os.replace):
        if 'jacobian_T2w.nii' in str(two):
            raise OSError(28, 'No space left on device')
        replaced.append(two)
        real(one, two)

    monkeypatch.setattr(derivatives.os, 'replace', replace_some)
    with pytest.raises(OSError, match='No space left'):
        publish(files, pair, settings, {})
    assert replaced
    assert pair_outputs(pair, settings.output_dir)['jacobian'].read_bytes() == before
    assert why_incomplete(pair, settings) == 'not done yet'
    assert not list((settings.output_dir / '.bidsreg' / 'tmp').iterdir())


def test_publish_wants_everything(pair, settings):
    files = fake_files(pair, settings.work_dir / 'x')
    del files['jacobian']
    with pytest.raises(ValueError, match='jacobian'):
        publish(files, pair, settings, {})


def test_qc_comes_last(pair, settings, monkeypatch):
    order = []
    real = derivatives.os.replace
    monkeypatch.setattr(derivatives.os, 'replace', lambda a, b: (order.append(Path(b).name), real(a, b)))
    finish(pair, settings)
    assert order[-1].endswith('_qc.json')
    assert sum(name.endswith('.json') for name in order[: len(PRODUCTS) - 1]) == len(PRODUCTS) - 1  # sidecars first


def test_sidecars(pair, settings):
    finish(pair, settings, mask_method='deepbet, because', t1w_skull_stripped=True)
    texts = {
        key: json.loads(sidecar(path).read_text())
        for key, path in pair_outputs(pair, settings.output_dir).items()
        if key != 'qc'
    }
    raw_t2w = 'bids:raw:sub-02/ses-2/anat/sub-02_ses-2_T2w.nii.gz'
    own_t1w = 'bids::sub-02/ses-1/anat/sub-02_ses-1_run-1_desc-preproc_T1w.nii.gz'
    assert texts['t2w_in_t1w']['SpatialReference'] == own_t1w
    assert texts['t2w_in_t1w']['SkullStripped'] is False
    assert texts['t1w_preproc']['SkullStripped'] is True
    assert texts['t1w_in_t2w']['SpatialReference'] == texts['t2w_mask']['SpatialReference'] == raw_t2w
    assert texts['t1w_mask']['Type'] == texts['t2w_mask']['Type'] == 'Brain'
    assert texts['t1w_mask']['Method'] == 'deepbet, because'
    assert (texts['forward_xfm']['From'], texts['forward_xfm']['To']) == (raw_t2w, own_t1w)
    for text in texts.values():
        assert text['Sources']
        assert text['SoftwareVersions'].startswith('bidsreg ')
        for source in text['Sources']:
            dataset, _, path = source.removeprefix('bids:').partition(':')
            root = {'raw': settings.bids_dir, '': settings.output_dir}[dataset]
            assert (root / path).is_file()


def test_bids_uri(settings, tmp_path):
    inside = replace(settings, output_dir=settings.bids_dir / 'derivatives' / 'bidsreg', derivatives=[tmp_path / 'f p'])
    assert bids_uri(inside.output_dir / 'a', inside) == 'bids::a'
    assert bids_uri(inside.bids_dir / 'a', inside) == 'bids:raw:a'
    assert bids_uri(tmp_path / 'f p' / 'sub-01' / 'm.nii', inside) == 'bids:fp:sub-01/m.nii'
    assert bids_uri(Path('/else where/m'), inside) == 'file:///else%20where/m'


def test_dataset_files(settings):
    out = settings.output_dir
    out.mkdir()
    (out / '.bidsignore').write_text('mine.txt\n')
    (out / 'README').write_text('mine')
    write_dataset_files(replace(settings, work_dir=out / 'scratch' / 'work'))
    write_dataset_files(settings)
    assert (out / 'README').read_text() == 'mine'
    lines = (out / '.bidsignore').read_text().splitlines()
    assert lines[0] == 'mine.txt'
    assert lines[-1] == 'scratch'
    assert len(lines) == len(set(lines))
    description = json.loads((out / 'dataset_description.json').read_text())
    assert description['DatasetType'] == 'derivative'
    assert description['DatasetLinks']['raw'] == settings.bids_dir.as_uri()
    citation = (out / 'logs' / 'CITATION.md').read_text()
    assert (
        json.loads((out / 'logs' / 'qc_dictionary.json').read_text())['result.jacobian.folds_percent']['Units'] == '%'
    )
    for name in ('Heinrich', 'Chen', 'Wu', 'Tustison', 'Avants', 'Fisch', 'Gorgolewski'):
        assert name in citation


def test_links_inside_the_raw_dataset_are_relative(settings):
    inside = replace(settings, output_dir=settings.bids_dir / 'derivatives' / 'bidsreg')
    write_dataset_files(inside)
    description = json.loads((inside.output_dir / 'dataset_description.json').read_text())
    assert description['DatasetLinks'] == {'raw': '../..'}


@pytest.mark.parametrize(
    ('description', 'message'),
    [
        ({'Name': 'x', 'DatasetType': 'raw'}, 'is a raw BIDS dataset'),
        ({'Name': 'x', 'DatasetType': 'derivative', 'GeneratedBy': [{'Name': 'fMRIPrep'}]}, 'derivatives of fMRIPrep'),
    ],
)
def test_output_of_somebody_else_is_refused(tmp_path, description, message):
    (tmp_path / 'dataset_description.json').write_text(json.dumps(description))
    with pytest.raises(InputError, match=message):
        derivatives.check_output_dataset(tmp_path)


_HOLD = """
import sys, time
from bidsreg.bids.derivatives import lock_pair
from bidsreg.bids.pairs import find_pairs
from bidsreg.settings import Settings
settings = Settings.from_toml(sys.argv[1])
locks = [lock_pair(pair, settings) for pair in find_pairs(settings).pairs]
print(sum(lock is not None for lock in locks), flush=True)
time.sleep(60)
"""


def test_locks_between_processes_end_with_the_process(pairs, settings, tmp_path):
    settings.to_toml(tmp_path / 's.toml')
    mine = lock_pair(pairs['sub-01'], settings)
    assert mine is not None
    other = subprocess.Popen([sys.executable, '-c', _HOLD, str(tmp_path / 's.toml')], stdout=subprocess.PIPE, text=True)
    try:
        assert int(other.stdout.readline()) == len(pairs) - 1
        assert lock_pair(pairs['sub-02_ses-1'], settings) is None
        half = settings.output_dir / '.bidsreg' / 'tmp' / 'sub-02_ses-1.99999'
        half.mkdir(parents=True)
    finally:
        other.kill()  # SIGKILL: nothing is tidied up
        other.wait()
    with lock_pair(pairs['sub-02_ses-1'], settings) as lock:
        assert lock is not None
        assert not half.exists()
    mine.release()


def test_same_work_folder_for_two_outputs_is_locked_too(pairs, settings, tmp_path):
    elsewhere = replace(settings, output_dir=tmp_path / 'other')
    elsewhere.to_toml(tmp_path / 's.toml')
    with lock_pair(pairs['sub-01'], settings):
        other = subprocess.Popen(
            [sys.executable, '-c', _HOLD, str(tmp_path / 's.toml')], stdout=subprocess.PIPE, text=True
        )
        try:
            assert int(other.stdout.readline()) == len(pairs) - 1
        finally:
            other.kill()
            other.wait()


@pytest.mark.skipif(not VALIDATOR.exists(), reason='bids-validator-deno is not installed')
def test_output_is_valid_bids(pairs, settings):
    for pair in pairs.values():
        finish(pair, settings)
        lock_pair(pair, settings)
    write_dataset_files(settings)
    (settings.output_dir / 'sub-01.html').write_text('<html></html>')
    for name in ('pairs.tsv', 'run/bidsreg.log', 'run/config.toml'):
        path = settings.output_dir / 'logs' / name
        path.parent.mkdir(exist_ok=True)
        path.write_text('x\n')
    done = subprocess.run(
        [str(VALIDATOR), str(settings.output_dir), '--json'], capture_output=True, text=True, check=False
    )
    issues = json.loads(done.stdout)['issues']['issues']
    errors = [
        (item['code'], item.get('location'), item.get('subCode')) for item in issues if item['severity'] == 'error'
    ]
    assert errors == []
    assert done.returncode == 0


def test_pybids_finds_every_file_by_its_entities(pairs, settings):
    from bids.layout import BIDSLayout

    for pair in pairs.values():
        finish(pair, settings)
    write_dataset_files(settings)
    layout = BIDSLayout(settings.output_dir, validate=False, is_derivative=True, config=['bids', 'derivatives'])
    for pair in pairs.values():
        for key, path in pair_outputs(pair, settings.output_dir).items():
            product = PRODUCTS[key]
            kept = pair.fixed_entities if product.of == 'T1w' else pair.entities
            wanted = {**kept, **product.entities, 'datatype': 'anat'}
            wanted.setdefault('desc', None)
            found = [file.path for file in layout.get(**wanted) if _same(file, wanted)]
            assert found == [str(path)], (key, wanted)


def _same(file, wanted) -> bool:
    """Entities that are not asked for are not there either (pybids' get allows more)."""
    mine = {key: value for key, value in file.get_entities(metadata=False).items() if value is not None}
    return set(mine) == {key for key, value in wanted.items() if value is not None}


MANY = """
import sys
from pathlib import Path
from bidsreg.bids.derivatives import write_dataset_files
from bidsreg.bids.pairs import find_pairs, plan_table
from bidsreg.app.plan import write_plan_table
from bidsreg.settings import Settings
bids, out, label = sys.argv[1:]
settings = Settings(bids_dir=bids, output_dir=out, participant_label=(label,), derivatives=(Path(out).parent / label,))
table = plan_table(find_pairs(settings))
sys.stdin.read()  # all begin at once
for _ in range(20):
    write_dataset_files(settings)
    write_plan_table(table, settings)
"""


def test_many_runs_write_into_one_folder_at_once(tmp_path):
    """As the jobs of an array do: no run fails, and what one adds no other loses."""
    labels = [f'{number:02}' for number in range(6)]
    raw = data.write_dataset(tmp_path / 'raw', {label: {None: ['T1w', 'T2w']} for label in labels})
    words = [[sys.executable, '-c', MANY, str(raw), str(tmp_path / 'out'), label] for label in labels]
    runs = [subprocess.Popen(each, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for each in words]
    for run in runs:
        run.stdin.close()
        run.stdin = None
    assert [(run.communicate()[1], run.returncode) for run in runs] == [('', 0)] * len(runs)
    lines = (tmp_path / 'out/logs/pairs.tsv').read_text().splitlines()[1:]
    assert [line.split('\t')[0] for line in lines] == labels
    description = json.loads((tmp_path / 'out/dataset_description.json').read_text())
    assert set(description['DatasetLinks']) == {'raw', *labels}
    assert not list((tmp_path / 'out/.bidsreg/tmp').iterdir())
