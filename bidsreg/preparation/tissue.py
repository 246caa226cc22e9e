"""Tissue classes of a T1w by Atropos."""

from __future__ import annotations

import nibabel as nb
import numpy as np

from bidsreg.preparation.ants import load_ants, no_files_left, to_ants
from bidsreg.registration.image import Image

CLASSES = ('csf', 'grey', 'white')
#: Percentile of a brain's values above which they are vessels, and no tissue.
VESSELS = 99.5
#: What the brightest tissue is to Atropos, whose iterations end by steps that do not go with the unit of a scan.
BRIGHTEST = 1000.0


def tissue_classes(image: Image, inside: np.ndarray) -> Image:
    """Divide the brain of a T1w into :data:`CLASSES`, by Atropos from three k-means with a Markov random field.

    Parameters
    ----------
    image : Image
        T1w without bias field.
    inside : ndarray of bool, of the image's shape
        The brain.

    Returns
    -------
    Image
        1, 2 and 3 (uint8) from the darkest class to the brightest; 0 outside, and where the T1w is not positive: it was
        cut away there (by defacing, say), and a class of equal values has no spread, with which Atropos fails.

    Raises
    ------
    ValueError
        If Atropos cannot divide what is left.
    """
    inside = inside & (image.data > 0)
    top = float(np.percentile(image.data[inside], VESSELS)) if inside.any() else 1.0
    clipped = (np.minimum(image.data / top, 1) * BRIGHTEST).astype(np.float32)
    scan, mask = (to_ants(nb.Nifti1Image(data, image.grid.affine)) for data in (clipped, inside.astype(np.float32)))
    try:
        with no_files_left():
            # r: the order in which it goes through the voxels is drawn from the same numbers each time
            found = load_ants().atropos(a=scan, x=mask, i=f'kmeans[{len(CLASSES)}]', m='[0.1,1x1x1]', c='[8,0]', r=0)
    except Exception as error:  # ANTsPy raises no narrower one
        raise ValueError(
            f'Atropos cannot divide {np.count_nonzero(inside)} voxels of the brain into {", ".join(CLASSES)}: look at '
            'the T1w and at its brain mask.'
        ) from error
    classes = found['segmentation'].numpy().astype(int) * inside
    means = [image.data[classes == value].mean() for value in range(1, len(CLASSES) + 1)]
    ranks = np.zeros(len(CLASSES) + 1, np.uint8)
    ranks[1 + np.argsort(means)] = np.arange(1, len(CLASSES) + 1)
    return Image(ranks[classes], image.grid)
