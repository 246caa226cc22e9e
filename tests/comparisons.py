"""Random images to compare, for the tests of similarities."""

import numpy as np
import torch
from scipy import ndimage as ndi

from bidsreg.registration.similarity import SIMILARITIES

EVERY = sorted(SIMILARITIES)


INFORMATION = {'gmi', 'lmi'}


def tensor(array, dtype=torch.float64):
    return torch.as_tensor(np.ascontiguousarray(array), dtype=dtype)[None, None]


def smooth_noise(shape, seed, sigma=0.8):
    values = ndi.gaussian_filter(np.random.default_rng(seed).normal(size=shape), sigma)
    return 0.5 + 0.2 * values / values.std()


def core(array, support):
    return array[tuple(slice(support, n - support) for n in array.shape)]


class Comparison:
    """A similarity calibrated on two arrays, as on one level; `weight` has the shape of the whole images."""

    def __init__(self, name, fixed, moving, weight=None, dtype=torch.float64, radius=1):
        self.similarity = SIMILARITIES[name](radius)
        support = self.similarity.support
        self.weight = tensor(core(np.ones(fixed.shape) if weight is None else weight, support), dtype)
        self.fixed, self.moving = tensor(fixed, dtype), tensor(moving, dtype)
        self.similarity.calibrate(self.fixed, self.moving, self.weight)
        self.features = self.similarity.features(self.fixed)

    def warped(self, moving=None):
        moving = self.moving if moving is None else moving
        return (
            self.similarity.core(self.similarity.moving_features(moving)) if self.similarity.feature_based else moving
        )

    def value(self, moving=None, fixed=None):
        features = self.features if fixed is None else self.similarity.features(fixed)
        return self.similarity.value(self.similarity.sums(features, self.warped(moving), self.weight))

    def gradient(self):
        leaf = self.warped().clone().requires_grad_()
        value = self.similarity.value(self.similarity.sums(self.features, leaf, self.weight))
        return torch.autograd.grad(value, leaf)[0]


def small(name, seed):
    """Two images as small as the similarity takes, and a mask."""
    shape = (9, 8, 8) if name == 'lmi' else (7, 6, 7)
    weight = np.random.default_rng(seed).integers(0, 2, shape)
    return smooth_noise(shape, seed + 1), smooth_noise(shape, seed + 2), weight


def plain_histogram_information(a, b):
    first, second = (np.clip(v, *np.percentile(v, (0.5, 99.5))) for v in (a, b))
    p = np.histogram2d(first, second, bins=48)[0] / a.size
    independent = p.sum(1, keepdims=True) * p.sum(0)
    ha, hb, hab = (-(q[q > 0] * np.log(q[q > 0])).sum() for q in (p.sum(1), p.sum(0), p))
    return (p[p > 0] * np.log(p[p > 0] / independent[p > 0])).sum(), (ha + hb) / hab
