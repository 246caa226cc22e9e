"""Heads that similarities are tried on."""

import numpy as np
import pytest

from tests import data


@pytest.fixture(scope='module')
def heads():
    """A T1w and a T2w of one head in the same place, and another T1w of it with noise of its own, about [0, 1]."""
    scans = {contrast: data.head(contrast=contrast) for contrast in ('T1w', 'T2w')}
    mask = np.asarray(scans['T1w'].mask.dataobj) > 0
    found = {contrast: np.asarray(scan.scan.dataobj, float) for contrast, scan in scans.items()}
    found['T1w again'] = found['T1w'] + np.random.default_rng(0).normal(0, 20, mask.shape)
    for contrast, values in found.items():
        low, high = np.percentile(values[mask], (0.5, 99.5))
        found[contrast] = (values - low) / (high - low)
    return found | {'mask': mask.astype(float)}
