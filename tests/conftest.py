"""What all tests share: ``from tests import data`` works wherever pytest is started."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

# a process that ANTs has used with more threads keeps them, and the last bits of its answers then change
os.environ.setdefault('ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS', '1')
if 'PYTEST_XDIST_WORKER' in os.environ:  # the workers share the cores
    os.environ.setdefault('OMP_NUM_THREADS', '1')
