"""Points in their files: which coordinates, what is kept, what is refused, and that they go where images go."""

import io
import json

import nibabel as nb
import numpy as np
import pandas as pd
import pytest

from bidsreg.apply.base import Errand, Options, Route
from bidsreg.apply.chain import Leg
from bidsreg.apply.points import POINT_FORMATS, Points
from bidsreg.errors import InputError
from bidsreg.registration.itk import write_affine
from tests import data

from .conftest import some_points, write_image

POINTS = np.array([[10.0, -20.5, 30.25], [-3, 4, 5], [0, 0, 0]])
MATRIX = data.truth(0).matrix


def expected(points=POINTS):
    return nb.affines.apply_affine(MATRIX, points)


@pytest.fixture
def carry(tmp_path):
    """Carry a file through a matrix; returns the text of the result, and what is said of it."""

    def do(name, text, legs=None, view=None, out=None):
        write_affine(tmp_path / 'm.txt', MATRIX)
        source = tmp_path / name
        source.write_text(text, encoding='utf-8')
        legs = (Leg(tmp_path / 'm.txt'),) if legs is None else legs
        kind = Points()
        out = tmp_path / (out or f'out{kind.ending_of(source)}')
        errand = Errand(source, out, Route((), legs, 'T2w', 'T1w', view))
        kind.check(errand, Options())
        outcome = kind.carry(errand, Options(), out)
        return out.read_text(encoding='utf-8'), outcome

    return do


def markups(points=POINTS, system='LPS', **more):
    signs = [-1, -1, 1] if system in ('LPS', '1', 1) else [1, 1, 1]
    control = [
        {'id': str(k), 'label': f'F-{k}', 'position': (point * signs).tolist(), 'locked': False}
        for k, point in enumerate(points, 1)
    ]
    one = {'type': 'Fiducial', 'coordinateSystem': system, 'coordinateUnits': 'mm', 'controlPoints': control, **more}
    return {'@schema': 'https://schema', 'markups': [one]}


def test_tables_are_in_ras_and_keep_their_other_columns(carry):
    text = 'name\tx\ty\tz\tsize\n' + ''.join(f'A{k}\t{x}\t{y}\t{z}\t007\n' for k, (x, y, z) in enumerate(POINTS))
    found, outcome = carry('points.tsv', text)
    table = pd.read_csv(io.StringIO(found), sep='\t', dtype=str)
    assert list(table) == ['name', 'x', 'y', 'z', 'size']
    assert list(table['size']) == ['007'] * 3
    assert list(table['name']) == ['A0', 'A1', 'A2']
    np.testing.assert_allclose(table[['x', 'y', 'z']].astype(float), expected(), atol=1e-5)
    assert outcome.notes == ()


@pytest.mark.parametrize(
    'names', [('"so called"', '"', '5" tip'), ('5" tip', 'plain', "it's"), ('"two\tcells"', '"""x"" said"', 'y')]
)
def test_quotes_of_other_columns_stay_as_they_are(carry, names):
    """Whether they enclose a cell or are signs like others."""
    text = 'name\tx\ty\tz\n' + ''.join(f'{name}\t1\t2\t3\n' for name in names)
    found, _ = carry('points.tsv', text)
    x, y, z = (f'{value:.5f}' for value in expected(np.array([[1, 2, 3]]))[0])
    assert found == text.replace('\t1\t2\t3\n', f'\t{x}\t{y}\t{z}\n')


def test_tables_of_ants_are_in_lps(carry):
    lps = POINTS * [-1, -1, 1]
    text = 'x,y,z,t,label\n' + ''.join(f'{x},{y},{z},0,{k}\n' for k, (x, y, z) in enumerate(lps))
    found, _ = carry('points.csv', text)
    table = pd.read_csv(io.StringIO(found))
    np.testing.assert_allclose(table[['x', 'y', 'z']] * [-1, -1, 1], expected(), atol=1e-5)
    assert list(table['label']) == [0, 1, 2]


def test_as_antspy_maps_the_same_table(carry, transforms, tmp_path):
    """Points go where images go by the inverse of the transform of images."""
    import ants

    points = pd.DataFrame(some_points(transforms['ab'].grid, 20), columns=['x', 'y', 'z']).round(4)
    inverse = transforms['folder'] / 'ab_inverse.h5'
    found, _ = carry('points.csv', points.to_csv(index=False), (Leg(inverse),))
    theirs = ants.apply_transforms_to_points(3, points, [str(inverse)])
    np.testing.assert_allclose(pd.read_csv(io.StringIO(found)), theirs, atol=2e-3)


@pytest.mark.parametrize('system', ['LPS', 'RAS', '0', '1', 0])
@pytest.mark.parametrize('name', ['points.mrk.json', 'points.json'])
def test_markups_say_their_own_coordinates(carry, name, system):
    content = markups(system=system, display={'color': [1, 0, 0]}, measurements=[{'name': 'length', 'value': 3}])
    found, _ = carry(name, json.dumps(content))
    found = json.loads(found)
    signs = [-1, -1, 1] if system in ('LPS', '1') else [1, 1, 1]
    (one,) = found['markups']
    places = np.array([point['position'] for point in one['controlPoints']]) * signs
    np.testing.assert_allclose(places, expected(), atol=1e-5)
    # all else stays, but what was measured on the old places
    assert one['display'] == {'color': [1, 0, 0]}
    assert one['controlPoints'][1]['label'] == 'F-2'
    assert found['@schema'] == 'https://schema'
    assert 'measurements' not in one


def test_points_that_were_not_placed_stay_unplaced(carry):
    content = markups()
    content['markups'][0]['controlPoints'][1] |= {'positionStatus': 'undefined', 'position': [0, 0, 0]}
    found = json.loads(carry('x.mrk.json', json.dumps(content))[0])['markups'][0]['controlPoints']
    assert found[1]['position'] == [0, 0, 0]
    np.testing.assert_allclose(np.array(found[2]['position']) * [-1, -1, 1], expected()[2], atol=1e-5)


def test_a_row_without_a_place_stays_as_it_is(carry):
    found, _ = carry('x.tsv', 'name\tx\ty\tz\nREF\tn/a\tn/a\tn/a\nA\t0\t0\t0\n')
    lines = found.splitlines()
    assert lines[1] == 'REF\tn/a\tn/a\tn/a'
    np.testing.assert_allclose([float(cell) for cell in lines[2].split('\t')[1:]], expected()[2], atol=1e-5)


@pytest.mark.parametrize(
    ('name', 'text', 'words'),
    [
        ('x.tsv', 'x\ty\tz\n1\t2\tnan\n', r'1 points are no places \(line 2\)'),
        ('x.tsv', 'x\ty\tz\n1\t2\t3\n1\tn/a\t3\n', r'line 3'),
        ('x.tsv', 'x\ty\tz\n1\t2\tinf\n', 'finite'),
        ('x.tsv', 'x\ty\tz\n1\tabc\t3\n', 'line 2'),
        ('x.tsv', 'x\ty\n1\t2\n', 'no column z'),
        ('x.tsv', 'x,y,z\n1,2,3\n', 'no column x and y and z'),
        ('x.tsv', 'x\ty\tz\n', 'has no points'),
        ('x.tsv', '', 'cannot be read as a table'),
        ('x.tsv', 'x\ty\tz\n1\t2\t3\t8\n4\t5\t6\t9\n', 'line 2 has 4 cells under a header of 3'),
        ('x.tsv', 'x\ty\tz\tx\n1\t2\t3\t4\n', 'the column x twice'),
        ('x.csv', 'x,y,z\n1,2,\n', 'line 2'),
        ('x.json', 'no JSON', 'cannot be read as JSON'),
        ('x.json', '[1, 2]', 'no file of markups'),
        ('x.json', '{"markups": []}', 'has no points'),
        ('x.json', json.dumps(markups(type='Plane')), 'of the type Plane'),
        ('x.json', json.dumps(markups(coordinateSystem='IJK')), 'coordinateSystem is IJK'),
        ('x.json', json.dumps(markups(coordinateUnits='cm')), 'coordinateUnits is cm'),
        ('x.json', '{"markups": [{"coordinateSystem": "LPS", "controlPoints": [{"label": "F-1"}]}]}', 'point F-1'),
        ('x.json', json.dumps(markups(np.array([[1, 2, np.nan]]))), 'point F-1 is not three finite numbers'),
    ],
)
def test_bad_points_are_refused(carry, name, text, words):
    with pytest.raises(InputError, match=words):
        carry(name, text)


def test_a_name_of_another_form_is_refused(carry):
    with pytest.raises(InputError, match=r'ends in \.tsv'):
        carry('x.tsv', 'x\ty\tz\n1\t2\t3\n', out='out.csv')


def test_points_beyond_the_field_are_told_by_name(carry, transforms):
    points = np.vstack([some_points(transforms['ab'].grid, 3), [[900.0, 0, 0]]])
    text = 'x\ty\tz\n' + ''.join('\t'.join(map(str, point)) + '\n' for point in points)
    _, outcome = carry('x.tsv', text, (Leg(transforms['folder'] / 'ab.h5'),))
    assert outcome.facts == {'OutsideOfField': 1}
    assert outcome.notes == (
        '1 (line 5) of 4 points lie outside of the displacement field, where only the affine acts',
    )


def test_points_of_another_space_are_refused(carry, tmp_path):
    view = write_image(tmp_path / 'scan.nii.gz', np.zeros((20, 20, 20)), data.grid((20, 20, 20), voxel=2.0))
    far = markups(POINTS + 100)
    with pytest.raises(InputError, match=r'3 of 3 points lie outside of scan\.nii\.gz: they are in another space'):
        carry('x.json', json.dumps(far), view=view)
    near = markups(np.vstack([POINTS / 10, [[100, 0, 0]]]))
    _, outcome = carry('x.json', json.dumps(near), view=view)
    assert outcome.notes == ('1 (F-4) of 4 points lie outside of scan.nii.gz',)


def test_points_without_a_way_back_are_refused(carry, tmp_path):
    """A warp that does not vanish at its border jumps over some places."""
    field = np.zeros((12, 12, 12, 1, 3), np.float32)
    field[..., 0] = -3
    nb.save(nb.Nifti1Image(field, np.eye(4)), tmp_path / 'warp.nii.gz')
    with pytest.raises(InputError, match=r'1 \(line 2\) of 2 points have no place there'):
        carry('x.tsv', 'x\ty\tz\n1.5\t2\t2\n5\t5\t5\n', (Leg(tmp_path / 'warp.nii.gz', inverted=True),))


def test_there_and_back(carry, transforms):
    text = 'x\ty\tz\n' + ''.join(
        '\t'.join(f'{v:.4f}' for v in p) + '\n' for p in some_points(transforms['ab'].grid, 30)
    )
    leg = transforms['folder'] / 'ab.h5'
    there, _ = carry('x.tsv', text, (Leg(leg),))
    back, _ = carry('y.tsv', there, (Leg(leg, inverted=True),))
    one, other = (np.loadtxt(io.StringIO(t), skiprows=1) for t in (text, back))
    np.testing.assert_allclose(one, other, atol=5e-3)


def test_every_ending_has_a_form():
    assert set(Points.endings) == set(POINT_FORMATS)
