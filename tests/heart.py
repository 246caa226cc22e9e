"""Small heads for the heart: settings that are quick, and a registration whose answer is known."""

import dataclasses

import nibabel as nib
import numpy as np

from bidsreg.registration import Grid, Image, preset, register

QUICK = dataclasses.replace(
    preset('node-mind'),
    levels=((8.0, 25), (4.0, 25)),
    patches=(1,),
    regularity=(('h1', 0.2),),
    loosened=(),
    reach=3.0,
    velocity_spacing=8.0,
    learning_rate=0.02,
)


def loaded(image):
    """An image of nibabel as one of the heart."""
    return Image(np.asarray(image.dataobj, np.float32), Grid(image.shape, image.affine))


def solved(pair, chosen=QUICK, **options):
    """Register a pair from its true affine on."""
    return register(
        loaded(pair.fixed),
        loaded(pair.moving),
        chosen,
        fixed_mask=loaded(pair.fixed_mask),
        affine=pair.truth.matrix,
        **options,
    )


def before_and_after(pair, result):
    """Mean error in mm at points with known places, after the affine and after all."""
    start = nib.affines.apply_affine(pair.truth.matrix, pair.points[:, :3])
    return pair.error(start).mean(), pair.error(result.deformation.points(pair.points[:, :3])).mean()
