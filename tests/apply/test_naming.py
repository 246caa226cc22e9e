"""Names taken apart, and those of results."""

from pathlib import Path

import pytest

from bidsreg.apply.kinds import KINDS
from bidsreg.apply.naming import BidsName, result_folder, result_name, same_label
from bidsreg.errors import InputError


@pytest.mark.parametrize(
    ('name', 'space'),
    [
        ('sub-01_T2w.nii.gz', 'T2w'),
        ('sub-01_acq-fast_space-T1w_desc-preproc_T2w.nii.gz', 'T1w'),
        ('tpl-MNI152NLin2009cAsym_res-01_atlas-DKT_dseg.nii.gz', 'MNI152NLin2009cAsym'),
        ('sub-01_hemi-L_white.surf.gii', 'white'),
    ],
)
def test_the_space_that_a_name_tells(name, space):
    assert BidsName.of(Path(name)).space == space


@pytest.mark.parametrize(
    'name', ['lesion.nii.gz', 'T2w.nii.gz', 'sub-01.nii.gz', 'sub-01_a-b-c_T1w.nii', 'acq-1_T1w.nii']
)
def test_other_names_tell_nothing(name):
    assert BidsName.of(Path(name)) is None


@pytest.mark.parametrize(
    ('source', 'kind', 'session', 'name'),
    [
        ('sub-01_T2w.nii.gz', 'image', '', 'sub-01_space-T1w_T2w.nii.gz'),
        ('sub-01_ses-2_run-1_echo-2_T2w.nii', 'image', '2', 'sub-01_ses-2_run-1_echo-2_space-T1w_T2w.nii'),
        ('sub-01_space-T2w_res-2_desc-a_dseg.nii.gz', 'labels', '', 'sub-01_space-T1w_desc-a_dseg.nii.gz'),
        ('tpl-MNI_cohort-1_res-01_atlas-DKT_dseg.nii.gz', 'labels', '', 'sub-01_space-T1w_atlas-DKT_dseg.nii.gz'),
        ('sub-01_hemi-L_den-32k_white.surf.gii', 'surface', '', 'sub-01_hemi-L_space-T1w_den-32k_white.surf.gii'),
        ('my lesion-map.nii.gz', 'labels', '3', 'sub-01_ses-3_space-T1w_desc-mylesionmap_dseg.nii.gz'),
        ('landmarks.json', 'points', '', 'sub-01_space-T1w_desc-landmarks_points.mrk.json'),
        ('sub-01_electrodes.tsv', 'points', '', 'sub-01_space-T1w_electrodes.tsv'),
        ('aseg.mgz', 'labels', '', 'sub-01_space-T1w_desc-aseg_dseg.nii.gz'),
    ],
)
def test_results_keep_the_entities_and_tell_the_new_space(source, kind, session, name):
    assert result_name(Path(source), KINDS[kind], '01', session, 'T1w') == name


def test_the_cohort_of_a_template_is_an_entity_of_its_own():
    name = result_name(Path('sub-01_desc-a_dseg.nii.gz'), KINDS['labels'], '01', '', 'Infant+2')
    assert name == 'sub-01_space-Infant_cohort-2_desc-a_dseg.nii.gz'
    assert BidsName.of(Path(name)).space == 'Infant+2'


@pytest.mark.parametrize(('name', 'kind'), [('scan.nii.gz', 'image'), ('lh.surf.gii', 'surface')])
def test_what_a_result_shows_is_not_made_up(name, kind):
    with pytest.raises(InputError, match='does not say what it shows'):
        result_name(Path(name), KINDS[kind], '01', '', 'T1w')


def test_folders_of_results(tmp_path):
    assert result_folder(tmp_path / 'func/x.nii', tmp_path, '01', '') == tmp_path / 'sub-01/func'
    assert result_folder(tmp_path / 'any/x.nii', tmp_path, '01', 'a') == tmp_path / 'sub-01/ses-a/anat'


def test_labels_that_are_numbers_are_compared_as_such():
    assert same_label('01', '1')
    assert not same_label('01', '10')
    assert not same_label('a1', 'a01')
