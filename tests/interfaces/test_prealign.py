"""The node of the linear alignment."""

import numpy as np

from bidsreg.interfaces.prealign import Prealign
from bidsreg.preparation.prealign import prealign
from bidsreg.registration.itk import read_affine


def test_the_node_writes_the_matrix_of_the_function(rigid_pair, here):
    _, paths = rigid_pair
    images = {name: str(paths[name]) for name in ('fixed', 'moving')}
    out = Prealign(**images, stage='rigid', sloppy=True, initial=str(paths['affine'])).run().outputs
    matrix, start = prealign(*images.values(), stage='rigid', sloppy=True, initial=str(paths['affine']))
    np.testing.assert_array_equal(read_affine(out.out_matrix), matrix)
    assert out.start == start == 'the matrix given'
    assert out.seconds > 0
