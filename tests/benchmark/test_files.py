"""Files of a benchmark: JSON, labels, points."""

from __future__ import annotations

import json

import nibabel as nb
import numpy as np
import pytest

from bidsreg.benchmark.files import read_labels, read_points, write_json
from bidsreg.errors import InputError


def test_what_is_no_number_becomes_null(tmp_path):
    value = {1: float('nan'), 'b': [np.float32(0.5), (np.inf, 2)], 'c': {'d': 'NaN', 'e': True}}
    write_json(tmp_path / 'a.json', value)
    text = (tmp_path / 'a.json').read_text()
    assert json.loads(text) == {'1': None, 'b': [0.5, [None, 2]], 'c': {'d': 'NaN', 'e': True}}
    assert [path.name for path in tmp_path.iterdir()] == ['a.json']


def test_labels_may_be_stored_as_floats_but_not_be_fractions(tmp_path):
    values = np.zeros((9, 9, 9), np.float32)
    values[1], values[2] = 17, 53.0004
    nb.save(nb.Nifti1Image(values, np.eye(4)), tmp_path / 'labels.nii.gz')
    labels = read_labels(tmp_path / 'labels.nii.gz')
    assert labels.dtype == np.int32
    assert np.unique(labels).tolist() == [0, 17, 53]
    nb.save(nb.Nifti1Image(values * 0.7, np.eye(4)), tmp_path / 'labels.nii.gz')
    with pytest.raises(InputError, match='this one has fractions; was it interpolated'):
        read_labels(tmp_path / 'labels.nii.gz')


def test_labels_that_float32_would_merge_are_refused(tmp_path):
    values = np.zeros((9, 9, 9), np.uint32)
    values[1], values[2] = 2**24, 2**24 + 1
    nb.save(nb.Nifti1Image(values, np.eye(4)), tmp_path / 'labels.nii.gz')
    with pytest.raises(InputError, match='labels beyond 16777216'):
        read_labels(tmp_path / 'labels.nii.gz')


def test_points_are_read_as_they_stand(tmp_path):
    (tmp_path / 'points.tsv').write_text('a\tb\tc\td\te\tf\n1\t2\t3\t4\t5\t6.5\n')
    np.testing.assert_array_equal(read_points(tmp_path / 'points.tsv'), [[1, 2, 3, 4, 5, 6.5]])


def test_points_with_a_number_in_front_are_refused(tmp_path):
    """Readers that guess would take every number for its neighbour."""
    (tmp_path / 'points.tsv').write_text('x\ty\tz\tmx\tmy\tmz\n7\t1\t2\t3\t4\t5\t6\n')
    with pytest.raises(InputError, match='line 2 has 7 cells under a header of 6'):
        read_points(tmp_path / 'points.tsv')


def test_points_without_a_header_lose_none(tmp_path):
    (tmp_path / 'points.tsv').write_text('1\t2\t3\t4\t5\t6.5\n2\t2\t3\t4\t5\t6\n')
    with pytest.raises(InputError, match='its first line is a point, and no header'):
        read_points(tmp_path / 'points.tsv')


@pytest.mark.parametrize(
    'text', ['', 'x\ty\tz\n1\t2\t3\n', 'a\tb\tc\td\te\tf\n', 'a\tb\tc\td\te\tf\n1\t2\t3\t4\t5\tsix\n']
)
def test_points_that_are_none(tmp_path, text):
    (tmp_path / 'points.tsv').write_text(text)
    with pytest.raises(InputError, match='points'):
        read_points(tmp_path / 'points.tsv')
