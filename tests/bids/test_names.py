"""What the files of a pair are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from bidsreg.bids.dataset import write_dataset_files
from bidsreg.bids.names import (
    DESCRIPTIONS,
    ENTITIES,
    PRODUCTS,
    RATIO_KINDS,
    T2W_TO_T1W,
    figure_path,
    output_name,
    pair_outputs,
    ratio_path,
    sidecar,
)
from bidsreg.preparation.ratio import RATIOS
from bidsreg.settings import CHOICES


def test_names(pairs, settings):
    out = settings.output_dir
    names = {key: str(path.relative_to(out)) for key, path in pair_outputs(pairs['sub-02_ses-2'], out).items()}
    anat = 'sub-02/ses-2/anat/sub-02_ses-2'
    fixed = 'sub-02/ses-1/anat/sub-02_ses-1_run-1'  # the T1w's own entities, in its own session
    assert names == {
        'fixed_preproc': f'{fixed}_desc-preproc_T1w.nii.gz',
        'fixed_mask': f'{fixed}_desc-brain_mask.nii.gz',
        'moving_mask': f'{anat}_space-T2w_desc-brain_mask.nii.gz',
        'moving_preproc': f'{anat}_desc-preproc_T2w.nii.gz',
        'moving_in_fixed': f'{anat}_space-T1w_desc-preproc_T2w.nii.gz',
        'fixed_in_moving': f'{anat}_space-T2w_desc-preproc_T1w.nii.gz',
        'jacobian': f'{anat}_from-T2w_to-T1w_mode-image_desc-jacobian_xfm.nii.gz',
        'forward_xfm': f'{anat}_from-T2w_to-T1w_mode-image_xfm.h5',
        'inverse_xfm': f'{anat}_from-T1w_to-T2w_mode-image_xfm.h5',
        'affine_xfm': f'{anat}_from-T2w_to-T1w_mode-image_desc-affine_xfm.tfm',
        'qc': f'{anat}_desc-registration_qc.json',
    }
    several = pairs['sub-01_acq-tse_run-2']
    assert (
        pair_outputs(several, out)['moving_in_fixed'].name == 'sub-01_acq-tse_run-2_space-T1w_desc-preproc_T2w.nii.gz'
    )
    assert pair_outputs(several, out)['fixed_preproc'].name == 'sub-01_desc-preproc_T1w.nii.gz'


def test_only_what_is_of_the_t1w_is_shared(pairs, settings):
    every = [path for pair in pairs.values() for path in pair_outputs(pair, settings.output_dir).items()]
    for key in PRODUCTS:
        paths = {path for name, path in every if name == key}
        assert len(paths) == (len({p.fixed for p in pairs.values()}) if PRODUCTS[key].of == 'fixed' else len(pairs))


@pytest.mark.parametrize(
    ('name', 'beside'),
    [
        ('sub-01_T2w.nii.gz', 'sub-01_T2w.json'),
        ('sub-01_T2w.nii', 'sub-01_T2w.json'),
        ('sub-01_xfm.h5', 'sub-01_xfm.json'),
        ('lesion.v2.nii.gz', 'lesion.v2.json'),
        ('MNI_0.7mm.nii', 'MNI_0.7mm.json'),
        ('lh.white.surf.gii', 'lh.white.json'),
        ('F.v1.mrk.json', 'F.v1.json'),
        ('points.json', 'points.json'),
    ],
)
def test_dots_before_the_ending_belong_to_the_name(name, beside):
    """Two files of a user would share a sidecar, or have that of a third one."""
    assert sidecar(Path('a.b') / name) == Path('a.b') / beside


def test_figure_names(pair):
    assert figure_path(pair.entities, '/o', 'mask', 'T1w') == Path('/o/sub-02/figures/sub-02_ses-2_desc-mask_T1w.svg')
    assert figure_path(pair.entities, '/o', 'summary', ext='.html').name == 'sub-02_ses-2_desc-summary_T2w.html'


def test_pybids_finds_every_file_by_its_entities(pairs, settings, finish):
    from bids.layout import BIDSLayout

    for pair in pairs.values():
        finish(pair, settings)
    write_dataset_files(settings, {})
    layout = BIDSLayout(settings.output_dir, validate=False, is_derivative=True, config=['bids', 'derivatives'])
    for pair in pairs.values():
        for key, path in pair_outputs(pair, settings.output_dir).items():
            product = PRODUCTS[key]
            kept = pair.fixed_entities if product.of == 'fixed' else pair.entities
            wanted = {**kept, **product.spelled(pair.contrasts), 'datatype': 'anat'}
            wanted.setdefault('desc', None)
            found = [file.path for file in layout.get(**wanted) if _same(file, wanted)]
            assert found == [str(path)], (key, wanted)


def _same(file, wanted) -> bool:
    """Entities that are not asked for are not there either (pybids' get allows more)."""
    mine = {key: value for key, value in file.get_entities(metadata=False).items() if value is not None}
    return set(mine) == {key for key, value in wanted.items() if value is not None}


def test_every_entity_comes_in_the_order_of_bids():
    from bidsschematools.schema import load_schema

    schema = load_schema()
    order = [schema.objects.entities[key]['name'] for key in schema.rules.entities]
    scan = dict.fromkeys(ENTITIES, '1') | {'mt': 'on', 'part': 'mag'}
    for key, product in PRODUCTS.items():
        labels = [part.partition('-')[0] for part in output_name(key, scan).name.split('_')[:-1]]
        assert set(ENTITIES.values()) <= set(labels)
        known = [label for label in labels if label in order]
        assert known == sorted(known, key=order.index), key
        assert product.spelled(T2W_TO_T1W)['suffix'] in output_name(key, scan).name


#: What NiBabies (io_spec_anat.json) and sMRIPrep (io_spec.json) ask a folder of derivatives for.
NIFTI = ['.nii.gz', '.nii']
QUERIES = {
    'fixed_preproc': {'space': None, 'desc': 'preproc', 'suffix': 'T1w', 'extension': NIFTI},
    'moving_preproc': {'space': None, 'desc': 'preproc', 'suffix': 'T2w', 'extension': NIFTI},
    'fixed_mask': {'space': None, 'desc': 'brain', 'suffix': 'mask', 'extension': NIFTI},
    'inverse_xfm': {'from': 'T1w', 'to': 'T2w', 'suffix': 'xfm', 'mode': 'image', 'extension': ['.h5', '.txt']},
    'forward_xfm': {'from': 'T2w', 'to': 'T1w', 'suffix': 'xfm', 'mode': 'image', 'extension': ['.h5', '.txt']},
    # and what anybody would ask for
    'moving_in_fixed': {'space': 'T1w', 'suffix': 'T2w', 'extension': NIFTI},
    'fixed_in_moving': {'space': 'T2w', 'suffix': 'T1w', 'extension': NIFTI},
    'moving_mask': {'space': 'T2w', 'suffix': 'mask', 'extension': NIFTI},
}


@pytest.mark.parametrize('spec', ['derivatives', None])
def test_the_neighbours_find_one_file_for_each_question(pairs, settings, finish, spec):
    from bids.layout import BIDSLayout

    pair = pairs['sub-01']
    finish(pair, settings)
    write_dataset_files(settings, {})
    config = ['bids', spec] if spec else None
    layout = BIDSLayout(settings.output_dir, validate=False, is_derivative=True, config=config)
    for key, query in QUERIES.items():
        found = layout.get(subject='01', datatype='anat', return_type='filename', **query)
        assert found == [str(pair_outputs(pair, settings.output_dir)[key])], key


def test_a_ratio_lies_on_the_t1w_and_says_its_kind():
    entities = {'subject': '01', 'run': '2'}
    for kind in RATIO_KINDS:
        path = ratio_path(entities, '/out', kind)
        assert path == Path(f'/out/sub-01/anat/sub-01_run-2_space-T1w_desc-{kind}_T1wT2wratio.nii.gz')
        assert kind in DESCRIPTIONS
    assert CHOICES['ratio'] == ('none', *RATIO_KINDS) == ('none', *RATIOS)
