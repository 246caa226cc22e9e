"""Two points of a head take reference values, whatever the scanner; which points is said."""

from __future__ import annotations

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from bidsreg.errors import InputError
from bidsreg.preparation import calibration
from bidsreg.preparation.calibration import CALIBRATIONS, Face, Scans, Unfit, calibrate, reference, values_at
from bidsreg.preparation.ratio import ratio_map

from .faces import face


@pytest.fixture(autouse=True)
def _in_the_template(monkeypatch):
    """The heads of these tests lie in the template's world already."""
    monkeypatch.setattr(calibration, 'to_template', lambda *_: np.eye(4))


class _AsTheyAre(Face):
    """Eyes and muscles as the scans have them."""

    def levelled(self, scans, regions):
        return scans


def scans(head):
    """The head with tissue classes by the brightness of the plain one."""
    classes = 1 + np.digitize(face().t1w, (45, 85)).astype(np.uint8)
    return Scans(head.t1w, head.t2w, head.inside, classes * head.inside, head.affine)


def test_the_points_take_the_reference_values():
    head = scans(face().scaled((3.0, 0.2), noise=0.02))
    t1w, t2w, facts = calibrate(head, of='T1w')
    assert facts['calibration'] == 'eyes-muscle'
    assert facts['passed_over'] == {}
    for point in ('eyes', 'muscle'):
        goal = reference()['Values'][point]
        assert facts['reference'][point] == goal
        for scan, line in facts['lines'].items():
            value = line['slope'] * facts['points'][point][scan] + line['intercept']
            assert value == pytest.approx(goal[scan], rel=1e-6)
    for data, made, line in ((head.t1w, t1w, 'T1w'), (head.t2w, t2w, 'T2w')):
        expected = facts['lines'][line]['slope'] * data + facts['lines'][line]['intercept']
        np.testing.assert_allclose(made, expected, rtol=1e-5)


def test_fluid_and_grey_matter_are_read_as_they_are():
    head = scans(face().scaled((3.0, 0.2), noise=0.02))
    t1w, t2w, facts = calibrate(head, of='T1w', among={'csf-grey': CALIBRATIONS['csf-grey']})
    for point, region in CALIBRATIONS['csf-grey'].regions(head).items():
        goal = reference()['Values'][point]
        assert np.median(t1w[region]) == pytest.approx(goal['T1w'], rel=1e-3)
        assert np.median(t2w[region]) == pytest.approx(goal['T2w'], rel=1e-3)
        assert facts['points'][point] == values_at(head, region)


def test_a_field_that_is_left_around_the_brain_is_not_read_with_the_points():
    plain = scans(face().scaled((1.0, 1.0), noise=0.02))
    index = np.moveaxis(np.indices(plain.inside.shape), 0, -1)
    forward = nib.affines.apply_affine(plain.affine, index)[..., 1] / 100
    t1w, t2w = ((scan * np.exp(0.25 * forward)).astype(np.float32) for scan in (plain.t1w, plain.t2w))
    left = replace(plain, t1w=t1w, t2w=t2w)

    def points(head, kind):
        """What is read, as parts of white matter."""
        _, _, facts = calibrate(head, of='T1w', among={kind.name: kind})
        white = {'T1w': np.median(head.t1w[head.classes == 3]), 'T2w': np.median(head.t2w[head.classes == 3])}
        return np.array([value / white[scan] for one in facts['points'].values() for scan, value in one.items()])

    assert (points(left, _AsTheyAre()) > 1.07 * points(plain, _AsTheyAre())).all()
    np.testing.assert_allclose(points(left, Face()), points(plain, Face()), rtol=0.03)


@pytest.mark.parametrize('name', CALIBRATIONS)
def test_two_scanners_agree_within_five_percent(name):
    among = {name: CALIBRATIONS[name]}
    maps, raw = [], []
    for seed, gains in enumerate(((1.0, 1.0), (0.55, 2.6), (40.0, 0.03))):
        head = scans(face().scaled(gains, seed=seed, noise=0.02))
        t1w, t2w, _ = calibrate(head, of='T1w', among=among)
        maps.append(ratio_map(t1w, t2w, head.inside, of='T1w').values)
        raw.append(ratio_map(head.t1w, head.t2w, head.inside, of='T1w').values)
    for tissue in (2, 3):
        where = head.classes == tissue
        calibrated, plain = ([np.median(one[where]) for one in kind] for kind in (maps, raw))
        np.testing.assert_allclose(calibrated[1:], calibrated[0], rtol=0.05)
        assert max(plain) > 4 * min(plain)


@pytest.mark.parametrize('what', ['face cut away', 'skull-stripped'])
def test_without_a_face_the_tissue_of_the_brain_is_taken_and_that_is_said(what):
    head = face()
    keep = head.inside.copy()
    if what == 'face cut away':
        keep[:, : np.flatnonzero(head.eyes.any((0, 2))).min() - 1] = True
    _, _, facts = calibrate(scans(head.cut(keep)), of='T1w')
    assert facts['calibration'] == 'csf-grey'
    assert facts['passed_over'] == {'eyes-muscle': Unfit.NOT_FOUND}
    assert set(facts['points']) == {'csf', 'grey'}


def test_scans_that_are_no_t1w_and_t2w_are_refused():
    head = face()
    one = scans(head)
    swapped = Scans(one.t2w, one.t1w, one.inside, one.classes, one.affine)
    with pytest.raises(InputError, match=r'sub-01_T1w.nii.* cannot be calibrated: .*--ratio uncalibrated'):
        calibrate(swapped, of='sub-01_T1w.nii')


def test_points_in_the_wrong_order_are_passed_over():
    one = scans(face())
    inverted = Scans(one.t1w.max() * 1.01 - one.t1w, one.t2w, one.inside, one.classes, one.affine)
    with pytest.raises(InputError, match=f'cerebrospinal fluid and grey matter are {Unfit.ORDER}'):
        calibrate(inverted, of='T1w')


def test_a_brain_without_fluid_has_no_calibration():
    one = scans(face().cut(face().inside))
    solid = Scans(one.t1w, one.t2w, one.inside, np.maximum(one.classes, 2 * one.inside).astype(np.uint8), one.affine)
    with pytest.raises(InputError, match=f'grey matter are {Unfit.NOT_FOUND}'):
        calibrate(solid, of='T1w')


def test_the_reference_has_every_point_and_its_source():
    content = reference()
    assert 'SynthSeg' in content['Source']
    assert set(content['Values']) == {point for one in CALIBRATIONS.values() for point in one.points}
    for fluid, other in (one.points for one in CALIBRATIONS.values()):
        assert content['Values'][fluid]['T1w'] < content['Values'][other]['T1w']
        assert content['Values'][fluid]['T2w'] > content['Values'][other]['T2w']


def test_values_are_taken_where_both_scans_have_one():
    one = scans(face())
    holes = one.t2w.copy()
    region = one.classes == 3
    holes[: len(holes) // 2] = 0
    half = values_at(Scans(one.t1w, holes, one.inside, one.classes, one.affine), region)
    assert half['T2w'] == np.median(one.t2w[len(holes) // 2 :][region[len(holes) // 2 :]])
    assert values_at(Scans(one.t1w, 0 * holes, one.inside, one.classes, one.affine), region) is None
