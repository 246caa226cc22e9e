"""The output folder is a BIDS dataset that many runs may share."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bidsreg.bids.dataset import check_output_dataset, write_dataset_files
from bidsreg.bids.locks import lock_pair
from bidsreg.bids.names import PRODUCTS, RATIO_KINDS
from bidsreg.bids.pairs import find_pairs
from bidsreg.errors import InputError
from bidsreg.qc.dictionary import dictionary_text
from bidsreg.reports.citation import methods_text
from bidsreg.settings import CHOICES, Settings
from tests import data

VALIDATOR = Path(sys.executable).with_name('bids-validator-deno')


def test_dataset_files(settings):
    out = settings.output_dir
    out.mkdir()
    (out / '.bidsignore').write_text('mine.txt\n')
    (out / 'README').write_text('mine')
    logs = {'CITATION.md': methods_text(settings), 'qc_dictionary.json': dictionary_text()}
    write_dataset_files(replace(settings, work_dir=out / 'scratch' / 'work'), logs)
    write_dataset_files(settings, logs)
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


def test_what_is_not_as_bids_has_it_is_not_taken_over(settings):
    raw, out = settings.bids_dir, settings.output_dir
    (raw / 'dataset_description.json').write_text('{"Name": ["a"], "Authors": "me", "License": {"a": 1}}')
    out.mkdir()
    (out / 'dataset_description.json').write_text('{"GeneratedBy": [{"Name": "bidsreg"}], "DatasetLinks": ["x"]}')
    write_dataset_files(settings, {})
    description = json.loads((out / 'dataset_description.json').read_text())
    assert description['Name'].endswith(f'registration of {raw.name}')
    assert not {'Authors', 'License'} & description.keys()
    assert set(description['DatasetLinks']) == {'raw'}
    (out / '.bidsignore').write_bytes(b'm\xe4in.txt\n')
    with pytest.raises(InputError, match=r'out/\.bidsignore cannot be read'):
        write_dataset_files(settings, {})


def test_links_inside_the_raw_dataset_are_relative(settings):
    inside = replace(settings, output_dir=settings.bids_dir / 'derivatives' / 'bidsreg')
    write_dataset_files(inside, {})
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
        check_output_dataset(tmp_path)


@pytest.mark.parametrize(
    ('raw', 'out', 'link'),
    [
        ('study/sourcedata/raw', 'study/derivatives/bidsreg', '../../sourcedata/raw'),
        ('study/rawdata', 'study/derivatives/bidsreg', '../../rawdata'),
        ('study/sourcedata/raw', 'study/derivatives/group/bidsreg', '../../../sourcedata/raw'),
        ('elsewhere/raw', 'study/derivatives/bidsreg', None),
    ],
)
def test_links_in_a_study_are_relative(settings, tmp_path, raw, out, link):
    inside = replace(settings, bids_dir=tmp_path / raw, output_dir=tmp_path / out)
    inside.bids_dir.mkdir(parents=True)
    write_dataset_files(inside, {})
    description = json.loads((inside.output_dir / 'dataset_description.json').read_text())
    assert description['DatasetLinks']['raw'] == (link or inside.bids_dir.as_uri())
    assert not link or (inside.output_dir / link).resolve() == inside.bids_dir.resolve()


@pytest.mark.parametrize(
    ('environment', 'container'),
    [
        ({}, None),
        ({'BIDSREG_CONTAINER': 'bidsreg/bidsreg:1'}, {'Type': 'docker', 'Tag': 'bidsreg/bidsreg:1'}),
        (
            {'BIDSREG_CONTAINER': 'bidsreg/bidsreg:1', 'APPTAINER_CONTAINER': '/x.sif'},
            {'Type': 'singularity', 'Tag': 'bidsreg/bidsreg:1'},
        ),
    ],
)
def test_what_made_the_dataset(settings, monkeypatch, environment, container):
    for name in ('BIDSREG_CONTAINER', 'APPTAINER_CONTAINER', 'SINGULARITY_CONTAINER'):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    write_dataset_files(settings, {})
    (made,) = json.loads((settings.output_dir / 'dataset_description.json').read_text())['GeneratedBy']
    assert made['CodeURL'].startswith('https://')
    assert made.get('Container') == container


def test_every_desc_is_described(settings):
    write_dataset_files(settings, {})
    rows = [line.split('\t') for line in (settings.output_dir / 'descriptions.tsv').read_text().splitlines()]
    assert rows[0] == ['desc_id', 'description']
    used = {f'desc-{product.entities["desc"]}' for product in PRODUCTS.values() if 'desc' in product.entities}
    used |= {f'desc-{kind}' for kind in (*RATIO_KINDS, 'normalisation')}
    used |= {f'desc-{contrast}' for contrast in CHOICES['modalities']}  # whose lesions lie in the space of a template
    assert {name for name, _ in rows[1:]} == used


#: Datasets of every shape: sessions or none, and every entity that scans of a head have.
SHAPES = {
    'plain': {'01': {None: ['T1w', 'T2w']}},
    'sessions': {'01': {'1': ['T1w', 'T2w'], '2': ['T1w', 'T2w']}, '02': {'a': ['T1w', 'T2w']}},
    'acq, rec, run': {'01': {None: ['acq-a_rec-n_run-1_T1w', 'acq-b_rec-n_run-01_T2w', 'acq-b_run-2_T2w']}},
    'chunk': {'01': {None: ['chunk-1_T1w', 'chunk-2_T1w', 'chunk-1_T2w', 'chunk-2_T2w']}},
    'echo, part': {'01': {None: ['echo-1_part-mag_T1w', 'echo-1_part-mag_T2w', 'echo-2_part-mag_T2w']}},
    'ce, task': {'01': {'1': ['task-rest_ce-gad_T1w', 'task-rest_ce-gad_T2w', 'task-rest_T2w']}},
    'plus': {'01': {None: ['T1w', 'acq-a+run+1_T2w', 'acq-a_run-1_T2w']}},
    'all': {'01': {'1': ['T1w', 'task-x_acq-a_ce-g_rec-r_run-1_echo-1_part-mag_chunk-1_T2w']}},
}


@pytest.mark.skipif(not VALIDATOR.exists(), reason='bids-validator-deno is not installed')
@pytest.mark.parametrize(
    'shape', [pytest.param(name, marks=() if name in ('sessions', 'all') else pytest.mark.slow) for name in SHAPES]
)
def test_output_is_valid_bids(tmp_path, finish, shape):
    raw = data.write_dataset(tmp_path / 'raw', SHAPES[shape])
    settings = Settings(bids_dir=raw, output_dir=tmp_path / 'out', work_dir=tmp_path / 'work')
    plan = find_pairs(settings)
    moving = [name for sessions in SHAPES[shape].values() for names in sessions.values() for name in names]
    assert len(plan.pairs) == sum(name.endswith('T2w') for name in moving)
    for pair in plan.pairs:
        finish(pair, settings)
        lock_pair(pair, settings)
    write_dataset_files(settings, {})
    (settings.output_dir / 'sub-01.html').write_text('<html></html>')
    for name in ('pairs.tsv', 'run/bidsreg.log', 'run/config.toml'):
        path = settings.output_dir / 'logs' / name
        path.parent.mkdir(exist_ok=True)
        path.write_text('x\n')
    done = subprocess.run(
        [str(VALIDATOR), str(settings.output_dir), '--json'], capture_output=True, text=True, check=False
    )
    issues = json.loads(done.stdout)['issues']['issues']
    found = [(item['severity'], item['code'], item.get('location'), item.get('subCode')) for item in issues]
    assert found == []
    assert done.returncode == 0


MANY = """
import sys
from pathlib import Path
from bidsreg.bids.dataset import write_dataset_files
from bidsreg.bids.pairs import find_pairs, plan_table
from bidsreg.app.plan import write_plan_table
from bidsreg.settings import Settings
bids, out, label = sys.argv[1:]
settings = Settings(bids_dir=bids, output_dir=out, participant_label=(label,), derivatives=(Path(out).parent / label,))
table = plan_table(find_pairs(settings))
sys.stdin.read()  # all begin at once
for _ in range(20):
    write_dataset_files(settings, {})
    write_plan_table(table, settings)
"""


@pytest.mark.slow
def test_many_runs_write_into_one_folder_at_once(tmp_path):
    """As the jobs of an array do: no run fails, and what one adds no other loses."""
    labels = [f'{number:02}' for number in range(4)]
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


def test_the_readme_names_what_only_some_pairs_have(settings):
    write_dataset_files(settings, {})
    text = (settings.output_dir / 'README').read_text()
    for name in (
        'sub-01_space-T2w_label-lesion_mask.nii.gz',
        'sub-01_space-T1w_desc-calibrated_T1wT2wratio.nii.gz',
        'desc-normalisation_qc.json',
    ):
        assert name in text
