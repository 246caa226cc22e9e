"""What the scripts of this folder ask of an image is what the app writes, and they have the variables of the image."""

from __future__ import annotations

import subprocess
from pathlib import Path

from bidsreg.bids.names import pair_outputs
from bidsreg.bids.pairs import find_pairs
from bidsreg.settings import Settings
from tests import data

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def in_shell(lines, tmp_path):
    """Run lines of bash with the functions of checks.sh, and return what they print."""
    command = ['bash', '-euc', f'. "$1"\n{lines}', 'bash', str(HERE / 'checks.sh')]
    # the place of a dataset is the first argument of who takes the functions
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_the_files_that_are_asked_for_are_those_of_a_pair(tmp_path):
    raw = data.write_dataset(tmp_path / 'raw', {'01': {None: ['T1w', 'T2w']}})
    (pair,) = find_pairs(Settings(bids_dir=raw, output_dir=tmp_path / 'out', work_dir=tmp_path / 'work')).pairs
    written = {path.relative_to(tmp_path / 'out').as_posix() for path in pair_outputs(pair, tmp_path / 'out').values()}
    asked = in_shell('printf "%s\\n" "${OUTPUTS[@]}"', tmp_path)
    assert {name for name in asked if '/anat/' in name} == written
    assert len(set(asked)) == len(asked)


def test_the_variables_of_the_image_are_read_from_its_dockerfile(tmp_path):
    found = dict(line.split('=', 1) for line in in_shell(f'variables "{ROOT}/Dockerfile"', tmp_path))
    assert found['NUMBA_CPU_NAME'] == 'x86-64-v3'
    assert found['NUMBA_CPU_FEATURES'].startswith('+avx2,')
    assert found['BIDSREG_KERNELS'] == '/opt/bidsreg/share/bidsreg/kernels'
    assert found['PYTHONUNBUFFERED'] == '1'  # the last one
    assert not {name for name in found if name != name.upper() or name.startswith('PIP')}
    assert not {'PATH', 'HOME'} & set(found)
