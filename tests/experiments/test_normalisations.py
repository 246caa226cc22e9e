"""Which cases of normalisations are wrong, which of them judge, and what is said of them."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import normalisations
import numpy as np
import pytest

from bidsreg.registration.deformation import Deformation
from bidsreg.registration.grid import Grid
from tests.qc.test_normalisation import GOOD


def case(kind: str, head: int = 1, error: float | None = None, **more) -> normalisations.Case:
    return normalisations.Case(kind, head, 'T1w', error, more.pop('facts', GOOD), **more)


@pytest.mark.parametrize(
    ('kind', 'error', 'wrong'),
    [
        ('plain', None, False),
        ('one hemisphere', None, True),
        ('a head of an infant, in size', None, None),
        ('back to front', 1.0, None),
        ('back to front', 9.0, True),
        ('shifted by 20 mm', None, None),
    ],
)
def test_kind_and_map_tell_what_is_wrong(kind, error, wrong):
    assert case(kind, error=error).wrong is wrong


def test_the_report_says_what_was_told(capsys):
    bad = json.loads(json.dumps(GOOD))
    bad['overlap']['brain_in_view']['affine'] = 0.4
    cases = [
        case('plain'),
        case('plain', 2),
        case('one hemisphere', 2, facts=bad),
        case('an animal, in size', 4, facts={}, refused='no head'),
        case('mask of one hemisphere', 2),
    ]
    normalisations.print_kinds(cases)
    normalisations.print_ranges(cases)
    normalisations.print_shares(cases)
    said = capsys.readouterr().out
    assert '| one hemisphere | 1 | 1 | 0 | 0 | 1 | `space_in_view` 1 |' in said
    assert '| an animal, in size | 1 | 1 | 0 | 0 | 1 | `refused` 1 |' in said
    assert '| `space_in_view` | 1 to 1 | 1 to 1 | 0.4 to 1 |' in said
    judging = next(line for line in said.splitlines() if line.startswith('| that judge '))
    assert '2 of 3 (67 %' in judging
    assert '0 of 1 (0 %' in judging


def test_the_distance_between_two_maps_and_a_turn_about_the_brain(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path('out').mkdir()
    mask = nib.Nifti1Image(np.ones((16, 16, 16), np.uint8), np.diag([3, 3, 3, 1]))
    grid = Grid(mask.shape, mask.affine)
    moved = np.eye(4)
    moved[:3, 3] = 3, 4, 12
    Deformation.from_affine(np.eye(4), grid).save(Path('plain.h5'))
    Deformation.from_affine(moved, grid).save(Path('out/forward.h5'))
    assert normalisations._away(Path('plain.h5'), mask) == pytest.approx(13, abs=1e-3)
    half = normalisations._about(np.diag([-1.0, -1.0, 1.0, 1.0]), mask)
    middle = np.array([22.5, 22.5, 22.5])
    np.testing.assert_allclose(nib.affines.apply_affine(half, middle), middle)


def test_one_of_each_kind_before_the_second_of_any(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(normalisations, 'coarse_template', lambda *_: None)
    monkeypatch.setattr(
        normalisations, 'make_one', lambda name, path, contrast, *_: made.append((name, path, contrast))
    )
    paths = [Path(f'anat-{k:02d}_dseg.nii.gz') for k in range(1, 13)]
    names = list(normalisations.KINDS)
    normalisations.make_all(paths, tmp_path, names, None, 3.0)
    assert [name for name, _, _ in made[: len(names)]] == names
    assert len(set(made)) == len(made) == 2 * sum(kind.heads for kind in normalisations.KINDS.values())
    assert {contrast for _, _, contrast in made} == {'T1w', 'T2w'}
