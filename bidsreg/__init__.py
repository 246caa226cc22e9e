"""bidsreg: diffeomorphic T1w/T2w registration of BIDS datasets with MIND descriptors and a Neural ODE."""

from importlib.metadata import version

__version__ = version('bidsreg')

#: The seed of everything random, unless told otherwise; the heart, which imports nothing of this, has the same.
SEED = 2026
