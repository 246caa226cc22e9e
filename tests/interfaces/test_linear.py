"""The node that keeps the rigid or the affine."""

import logging

import numpy as np
import pytest

from bidsreg.interfaces.linear import ChooseLinear
from bidsreg.preparation.linear import choose_linear
from bidsreg.registration.itk import read_affine, write_affine


@pytest.mark.parametrize(('factor', 'kept'), [(1.06, 'rigid'), (1.0, 'affine')])
def test_the_node_hands_on_the_matrix_that_is_kept(rigid_pair, here, caplog, factor, kept):
    _, paths = rigid_pair
    right = read_affine(paths['affine'])
    matrices = {'rigid': right, 'affine': right @ np.diag([factor, factor, factor, 1.0])}
    for name, matrix in matrices.items():
        write_affine(here / f'{name}_in.txt', matrix)
    images = {name: str(paths[name]) for name in ('fixed', 'moving', 'fixed_mask')}
    with caplog.at_level(logging.INFO, 'bidsreg'):
        node = ChooseLinear(**images, **{name: str(here / f'{name}_in.txt') for name in matrices})
        out = node.run().outputs
    given = {name: read_affine(here / f'{name}_in.txt') for name in matrices}
    choice = choose_linear(images.pop('fixed'), images.pop('moving'), **images, **given)
    assert out.choice == {'kept': kept, 'mind_heldout': choice.mind_heldout, 'stretch': choice.stretch}
    np.testing.assert_array_equal(read_affine(out.out_matrix), given[kept])
    assert f'moving: {kept} kept: ' in caplog.text
    assert f'{choice.mind_heldout["affine"]:.4f} after the affine' in caplog.text
    assert out.seconds > 0
