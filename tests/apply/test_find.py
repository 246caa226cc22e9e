"""Transforms found by their entities: one, a chain, several, none, those of others."""

import json

import numpy as np
import pytest

from bidsreg.apply.find import Derivatives
from bidsreg.apply.naming import BidsName
from bidsreg.errors import InputError
from tests import data

from .conftest import write_image

AFFINES = {'T1w': data.grid((8, 9, 8)), 'T2w': data.grid((7, 9, 8), 'LAS'), 'MNI': data.grid((9, 9, 9), voxel=20.0)}


def write_transform(folder, start, end, stem='sub-01', sources=()):
    path = folder / f'{stem}_from-{start}_to-{end}_mode-image_xfm.h5'
    path.touch()
    if sources:
        path.with_suffix('.json').write_text(json.dumps({'Sources': [f'bids:raw:x/{name}' for name in sources]}))
    return path


@pytest.fixture
def there(tmp_path):
    """A T1w and a T2w on grids of their own, and transforms both ways."""
    anat = tmp_path / 'out/sub-01/anat'
    anat.mkdir(parents=True)
    for name in ('T1w', 'T2w'):
        write_image(anat / f'sub-01_desc-preproc_{name}.nii.gz', np.zeros((8 - (name == 'T2w'), 9, 8)), AFFINES[name])
    for start, end in (('T1w', 'T2w'), ('T2w', 'T1w')):
        write_transform(anat, start, end, sources=['sub-01_desc-preproc_T1w.nii.gz', 'sub-01_T2w.nii.gz'])
    # of no use here
    (anat / 'sub-01_from-T2w_to-T1w_mode-image_desc-affine_xfm.tfm').touch()
    (anat / 'sub-01_from-T2w_to-T1w_mode-image_desc-jacobian_xfm.nii.gz').touch()
    return anat


def found(anat, session='', *more):
    return Derivatives((anat.parents[1], *more), '01', session)


def names(legs):
    return [(leg.path.name.split('_mode')[0].partition('_')[2], leg.inverted) for leg in legs]


def test_images_and_points_go_by_files_that_are_there(there, tmp_path):
    route = found(there).route(tmp_path / 'x.tsv', 'T2w', 'T1w')
    assert names(route.images) == [('from-T2w_to-T1w', False)]
    assert names(route.points) == [('from-T1w_to-T2w', False)]
    assert route.view.name == 'sub-01_desc-preproc_T2w.nii.gz'
    assert found(there).reference(route).name == 'sub-01_desc-preproc_T1w.nii.gz'


def test_a_transform_without_its_inverse_is_gone_backward(there, tmp_path):
    (there / 'sub-01_from-T1w_to-T2w_mode-image_xfm.h5').unlink()
    ahead = found(there).route(tmp_path / 'x.tsv', 'T2w', 'T1w')
    assert names(ahead.points) == [('from-T2w_to-T1w', True)]
    back = found(there).route(tmp_path / 'x.tsv', 'T1w', 'T2w')
    assert names(back.images) == [('from-T2w_to-T1w', True)]


def test_a_chain_to_a_template_of_another_dataset(there, tmp_path):
    other = tmp_path / 'fmriprep/sub-01/anat'
    other.mkdir(parents=True)
    write_transform(other, 'T1w', 'MNI')
    write_image(other / 'sub-01_space-MNI_desc-preproc_T1w.nii.gz', np.zeros((9, 9, 9)), AFFINES['MNI'])
    both = found(there, '', tmp_path / 'fmriprep')
    route = both.route(tmp_path / 'x.nii', 'T2w', 'MNI')
    assert names(route.images) == [('from-T1w_to-MNI', False), ('from-T2w_to-T1w', False)]
    assert names(route.points) == [('from-T1w_to-T2w', False), ('from-T1w_to-MNI', True)]
    assert both.reference(route).name == 'sub-01_space-MNI_desc-preproc_T1w.nii.gz'
    assert names(both.route(tmp_path / 'x.nii', 'MNI', 'T2w').images) == [
        ('from-T1w_to-T2w', False),
        ('from-T1w_to-MNI', True),
    ]


def test_any_contrast(there, tmp_path):
    write_transform(there, 'FLAIR', 'T1w')
    route = found(there).route(tmp_path / 'x.nii', 'FLAIR', 'T2w')
    assert names(route.images) == [('from-T1w_to-T2w', False), ('from-FLAIR_to-T1w', False)]


def test_no_transform_is_found(there, tmp_path):
    with pytest.raises(InputError, match='no transform of sub-01 leads from PDw to T1w'):
        found(there).route(tmp_path / 'x.nii', 'PDw', 'T1w')
    with pytest.raises(InputError, match='no transform of sub-02'):
        Derivatives((there.parents[1],), '02').route(tmp_path / 'x.nii', 'T2w', 'T1w')
    with pytest.raises(InputError, match='no such folder'):
        Derivatives((tmp_path / 'nowhere',), '01').route(tmp_path / 'x.nii', 'T2w', 'T1w')
    with pytest.raises(InputError, match='already'):
        found(there).route(tmp_path / 'x.nii', 'T1w', 'T1w')


def test_several_pairs_are_told_apart_by_the_scans_that_they_are_of(there, tmp_path):
    for path in there.glob('*xfm*'):
        path.unlink()
    for acq in ('a', 'b'):
        scans = ['sub-01_acq-mprage_T1w.nii.gz', f'sub-01_acq-{acq}_T2w.nii.gz']
        for start, end in (('T1w', 'T2w'), ('T2w', 'T1w')):
            write_transform(there, start, end, f'sub-01_acq-{acq}', scans)
    route = found(there).route(tmp_path / 'sub-01_acq-b_space-T2w_mask.nii', 'T2w', 'T1w')
    assert {leg.path.name.split('_')[1] for leg in (*route.images, *route.points)} == {'acq-b'}
    for name in ('sub-01_space-T2w_mask.nii', 'x.nii'):
        with pytest.raises(InputError, match=r'several transforms lead from T2w to T1w.*acq-a.*acq-b'):
            found(there).route(tmp_path / name, 'T2w', 'T1w')
    # the entities of the T1w are not those in the transform's name
    with pytest.raises(InputError, match='several'):
        found(there).route(tmp_path / 'sub-01_acq-mprage_T1w.nii', 'T1w', 'T2w')
    with pytest.raises(InputError, match='no transform between T2w and T1w is of the scan'):
        found(there).route(tmp_path / 'sub-01_acq-c_T2w.nii', 'T2w', 'T1w')


def test_the_t1w_keeps_its_own_entities(there, tmp_path):
    for path in there.glob('*xfm.*'):
        path.unlink()
    write_transform(there, 'T1w', 'T2w', 'sub-01_acq-space', ['sub-01_acq-mprage_T1w.nii', 'sub-01_acq-space_T2w.nii'])
    route = found(there).route(tmp_path / 'sub-01_acq-mprage_T1w.nii', 'T1w', 'T2w')
    assert names(route.images) == [('acq-space_from-T1w_to-T2w', False)]


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('sub-01_T2w.nii.gz', ''),
        ('sub-01_run-2_T2w.nii.gz', 'without run-2 in its name'),
        ('sub-01_ses-9_acq-x_T2w.nii.gz', 'without ses-9 and acq-x in its name'),
        ('sub-01_run-2_space-T2w_desc-x_mask.nii.gz', ''),
        ('sub-01_task-rest_bold.nii.gz', ''),
    ],
)
def test_another_scan_than_that_of_the_transform_is_told(there, tmp_path, name, words):
    notes = found(there).route(tmp_path / name, 'T2w', 'T1w').notes
    assert bool(notes) == bool(words)
    assert words in ''.join(notes)


def test_sessions(tmp_path):
    for session in ('1', '2'):
        anat = tmp_path / f'out/sub-01/ses-{session}/anat'
        anat.mkdir(parents=True)
        write_transform(anat, 'T2w', 'T1w', f'sub-01_ses-{session}')
    all_of_them = Derivatives((tmp_path / 'out',), '01')
    with pytest.raises(InputError, match='--session-label'):
        all_of_them.route(tmp_path / 'x.nii', 'T2w', 'T1w')
    by_name = all_of_them.route(tmp_path / 'sub-01_ses-2_T2w.nii', 'T2w', 'T1w')
    asked = Derivatives((tmp_path / 'out',), '01', '2')
    assert by_name.images == asked.route(tmp_path / 'x.nii', 'T2w', 'T1w').images
    assert all_of_them.session_in(by_name) == '2'
    assert asked.session_of(tmp_path / 'x.nii') == '2'
    assert all_of_them.session_of(tmp_path / 'sub-01_ses-1_T2w.nii') == '1'
    with pytest.raises(InputError, match='is of ses-1'):
        asked.session_of(tmp_path / 'sub-01_ses-1_T2w.nii')


def test_images_of_the_session(tmp_path):
    """Also of a T1w of another session, which the sidecar of the transform names."""
    out = tmp_path / 'out'
    for session in ('1', '2'):
        anat = out / f'sub-01/ses-{session}/anat'
        anat.mkdir(parents=True)
        t1w = [] if session == '1' else ['sub-01_ses-1_T1w.nii', 'sub-01_ses-2_T2w.nii']
        for start, end in (('T2w', 'T1w'), ('T1w', 'MNI')):
            write_transform(anat, start, end, f'sub-01_ses-{session}', t1w)
        for name in ('T1w', 'T2w'):
            write_image(anat / f'sub-01_ses-{session}_desc-preproc_{name}.nii.gz', np.zeros((8, 9, 8)), AFFINES['T1w'])
    both = Derivatives((out,), '01')
    route = both.route(tmp_path / 'sub-01_ses-1_T2w.nii', 'T2w', 'T1w')
    assert both.reference(route).name == 'sub-01_ses-1_desc-preproc_T1w.nii.gz'
    assert route.view.name == 'sub-01_ses-1_desc-preproc_T2w.nii.gz'
    route = both.route(tmp_path / 'sub-01_ses-2_T2w.nii', 'T2w', 'T1w')
    assert both.reference(route).name == 'sub-01_ses-1_desc-preproc_T1w.nii.gz'
    assert route.view.name == 'sub-01_ses-2_desc-preproc_T2w.nii.gz'


def test_a_chain_stays_with_one_scan(tmp_path):
    out = tmp_path / 'out'
    for session in ('1', '2'):
        anat = out / f'sub-01/ses-{session}/anat'
        anat.mkdir(parents=True)
        for start, end in (('T2w', 'T1w'), ('T1w', 'MNI')):
            write_transform(anat, start, end, f'sub-01_ses-{session}')
    route = Derivatives((out,), '01').route(tmp_path / 'sub-01_ses-2_T2w.nii', 'T2w', 'MNI')
    assert names(route.images) == [('ses-2_from-T1w_to-MNI', False), ('ses-2_from-T2w_to-T1w', False)]


def test_a_file_of_another_person(there, tmp_path):
    with pytest.raises(InputError, match='is of sub-02, and the transforms of sub-01'):
        found(there).session_of(tmp_path / 'sub-02_T2w.nii')


@pytest.mark.parametrize(
    ('name', 'asked', 'origin'),
    [
        ('sub-01_T2w.nii.gz', None, 'T2w'),
        ('sub-01_space-T2w_mask.nii.gz', None, 'T2w'),
        ('sub-01_space-T2w_mask.nii.gz', 'T2w', 'T2w'),
        ('landmarks.tsv', 'T2w', 'T2w'),
        ('tpl-MNI_dseg.nii.gz', None, 'MNI'),
    ],
)
def test_where_a_file_is_by_its_name_or_the_user(there, tmp_path, name, asked, origin):
    assert found(there).origin_of(tmp_path / name, 'T1w', asked) == origin


def test_where_a_file_is_by_its_grid(there, tmp_path):
    path = write_image(tmp_path / 'lesion.nii.gz', np.zeros((7, 9, 8)), AFFINES['T2w'])
    assert found(there).origin_of(path, 'T1w') == 'T2w'
    nudged = AFFINES['T2w'].copy()
    nudged[0, 3] += 1
    write_image(path, np.zeros((7, 9, 8)), nudged)
    with pytest.raises(InputError, match=r'no scan has its grid\. Say --from with one of T2w'):
        found(there).origin_of(path, 'T1w')


def test_a_grid_of_both_scans_tells_nothing(there, tmp_path):
    for name in ('T1w', 'T2w'):
        write_image(there / f'sub-01_desc-preproc_{name}.nii.gz', np.zeros((8, 9, 8)), AFFINES['T1w'])
    path = write_image(tmp_path / 'lesion.nii.gz', np.zeros((8, 9, 8)), AFFINES['T1w'])
    with pytest.raises(InputError, match='its grid is that of T1w and T2w'):
        found(there).origin_of(path, 'T1w')


def test_the_user_is_not_believed_against_a_name(there, tmp_path):
    with pytest.raises(InputError, match='space T2w by its name, not in T1w'):
        found(there).origin_of(tmp_path / 'sub-01_T2w.nii', 'T2w', 'T1w')


def test_a_space_without_an_image_has_no_grid(there, tmp_path):
    write_transform(there, 'T1w', 'MNI')
    route = found(there).route(tmp_path / 'x.nii', 'T1w', 'MNI')
    with pytest.raises(InputError, match=r'No image of sub-01 .* lies in MNI: .* --reference'):
        found(there).reference(route)


def test_two_ways_of_one_length_are_refused(there, tmp_path):
    write_transform(there, 'T1w', 'MNI')
    write_transform(there, 'FLAIR', 'MNI')
    write_transform(there, 'T2w', 'FLAIR')
    with pytest.raises(InputError, match='several ways lead to MNI'):
        found(there).route(tmp_path / 'x.nii', 'T2w', 'MNI')


def test_of_two_ways_the_one_through_scans_of_the_person_is_taken(there, tmp_path):
    """After a normalisation every scan has transforms to the template."""
    write_image(there / 'sub-01_space-MNI_desc-preproc_T1w.nii.gz', np.zeros((9, 9, 9)), AFFINES['MNI'])
    for start, end in (('FLAIR', 'T1w'), ('FLAIR', 'MNI'), ('T1w', 'MNI'), ('T2w', 'MNI')):
        write_transform(there, start, end)
    route = found(there).route(tmp_path / 'x.nii', 'FLAIR', 'T2w')
    assert names(route.images) == [('from-T1w_to-T2w', False), ('from-FLAIR_to-T1w', False)]


def test_any_of_several_images_in_a_template_has_its_grid(there, tmp_path):
    write_transform(there, 'T1w', 'MNI')
    for contrast in ('T1w', 'T2w'):
        write_image(there / f'sub-01_space-MNI_desc-preproc_{contrast}.nii.gz', np.zeros((9, 9, 9)), AFFINES['MNI'])
    route = found(there).route(tmp_path / 'x.nii', 'T1w', 'MNI')
    assert found(there).reference(route).name == 'sub-01_space-MNI_desc-preproc_T1w.nii.gz'
    for contrast in ('T1w', 'T2w'):
        other = there / f'sub-01_space-MNI_res-2_desc-preproc_{contrast}.nii.gz'
        write_image(other, np.zeros((4, 4, 4)), AFFINES['MNI'])
    with pytest.raises(InputError, match='--reference, ') as caught:
        found(there).reference(route)
    named = [there / f'sub-01_space-MNI_{res}desc-preproc_T1w.nii.gz' for res in ('', 'res-2_')]
    assert all(str(path) in str(caught.value) for path in named), 'one for each grid'
    assert 'preproc_T2w' not in str(caught.value)


def test_a_scan_that_was_not_registered_is_told_what_it_lacks(there, tmp_path):
    flair = write_image(tmp_path / 'sub-01_FLAIR.nii.gz', np.zeros((6, 6, 6)), AFFINES['MNI'])
    with pytest.raises(InputError, match='is a FLAIR by its name, no transform of sub-01 leads from a FLAIR') as caught:
        found(there).origin_of(flair, 'T1w')
    assert 'Register it first' in str(caught.value)
    assert found(there).origin_of(flair, 'T1w', 'T2w') == 'T2w'


def test_two_runs_of_one_session_are_not_told_apart_by_a_session(there, tmp_path):
    for run in ('1', '2'):
        write_transform(there, 'T1w', 'FLAIR', f'sub-01_run-{run}')
    with pytest.raises(InputError, match='several transforms lead from T1w to FLAIR') as caught:
        found(there).route(tmp_path / 'x.nii', 'T1w', 'FLAIR')
    assert '--session-label' not in str(caught.value)
    assert 'with --transform' in str(caught.value)


@pytest.mark.parametrize('contrast', ['T2w', 'T1w'])
def test_a_file_of_two_transforms_is_of_the_scan_at_its_end(there, tmp_path, contrast):
    """Also where the template, whose suffix is T1w, stands at the other."""
    for acq in ('a', 'b'):
        path = write_transform(there, contrast, 'MNI', f'sub-01_acq-{acq}')
        said = {
            'Sources': ['bids::sub-01_from-a_to-b_xfm.h5'],
            'From': f'bids:raw:x/sub-01_acq-{acq}_{contrast}.nii.gz',
        }
        path.with_suffix('.json').write_text(json.dumps({**said, 'To': 'bids:t:tpl-MNI/tpl-MNI_T1w.nii.gz'}))
    route = found(there).route(tmp_path / f'sub-01_acq-b_{contrast}.nii', contrast, 'MNI')
    assert route.images[0].path.name.startswith(f'sub-01_acq-b_from-{contrast}_to-MNI')


def test_a_cohort_of_a_template(there, tmp_path):
    write_transform(there, 'T1w', 'Infant+2')
    write_transform(there, 'T1w', 'Infant+3')
    image = there / 'sub-01_space-Infant_cohort-2_desc-preproc_T1w.nii.gz'
    write_image(image, np.zeros((9, 9, 9)), AFFINES['MNI'])
    write_image(there / image.name.replace('-2', '-3'), np.zeros((7, 7, 7)), AFFINES['MNI'])
    route = found(there).route(tmp_path / 'x.nii', 'T1w', 'Infant+2')
    assert found(there).reference(route) == image
    assert found(there).origin_of(image, 'T1w') == 'Infant+2'
    assert found(there).origin_of(tmp_path / 'tpl-Infant_cohort-3_dseg.nii.gz', 'T1w') == 'Infant+3'


def test_names_of_transforms_are_read_as_such():
    assert BidsName.of(write_name('T2w', 'T1w')).entities['from'] == 'T2w'


def write_name(start, end):
    from pathlib import Path

    return Path(f'sub-01_from-{start}_to-{end}_mode-image_xfm.h5')
