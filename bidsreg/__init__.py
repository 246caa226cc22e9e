"""bidsreg: diffeomorphic T1w/T2w registration of BIDS datasets with MIND descriptors and a Neural ODE."""

from importlib.metadata import version

__version__ = version('bidsreg')

#: The seed of everything random, unless told otherwise; the heart, which imports nothing of this, has the same.
SEED = 2026
#: The largest seed that every method takes: 31 bits.
LARGEST_SEED = 2**31 - 1
#: mm, the finest and the coarsest grid that may be worked on: scans have voxels of .25 mm and more, of specimens .1 mm;
#: on more than 8 mm nothing of a brain's folds is left.
RESOLUTIONS = (0.1, 8.0)
