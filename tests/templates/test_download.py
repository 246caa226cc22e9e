"""The words by which TemplateFlow's own client knows a file, and that client without a network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bidsreg.templates.download import query_of


@pytest.mark.parametrize(
    ('name', 'found'),
    [
        ('tpl-A_res-01_T1w.nii.gz', (1, None, None, 'T1w')),
        ('tpl-A_cohort-2_res-2_desc-brain_mask.nii.gz', (2, 2, 'brain', 'mask')),
        ('tpl-A_T2w.nii.gz', (None, None, None, 'T2w')),
    ],
)
def test_the_query_of_a_file(name, found):
    values = dict(zip(('resolution', 'cohort', 'desc', 'suffix'), found, strict=True))
    assert query_of(Path('/home/tpl-A') / name) == {**values, 'hemi': None, 'extension': '.nii.gz'}


@pytest.mark.slow  # the client indexes its folder
def test_the_real_client_knows_these_words_and_our_names(tmp_path):
    """Every file that a download would ask for is one of those that the client has found; wrong names are refused."""
    code = (
        'import json, sys\n'
        'from pathlib import Path\n'
        'from templateflow import api\n'
        'from bidsreg.bids.spaces import parse_spaces\n'
        'from bidsreg.templates.download import download, query_of\n'
        'from bidsreg.templates.sources import TemplateFlow\n'
        'home, answers = Path(sys.argv[1]), []\n'
        'for space in parse_spaces(sys.argv[2:]):\n'
        '    paths = TemplateFlow().named(space, home).paths\n'
        '    answers += [[str(path), list(map(str, api.ls(space.name, **query_of(path))))] for path in paths]\n'
        'print(json.dumps(answers))\n'
    )
    words = ['MNI152NLin2009cAsym:res-1:res-2', 'MNI152NLin6Asym', 'MNIInfant:cohort-3', 'MNI305', 'Fischer344']
    environment = {**os.environ, 'TEMPLATEFLOW_HOME': str(tmp_path)}
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code, str(tmp_path), *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout.splitlines()[-1])
    assert len(answers) == 11
    for path, found in answers:
        assert found == [path]
    asked = {'name': 'MNI152NLin2009cAsim', 'cohort': None, 'resolutions': [], 'home': str(tmp_path)}
    done = subprocess.run(
        [sys.executable, '-m', 'bidsreg.templates.download', json.dumps(asked)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Did you mean 'MNI152NLin2009cAsym'" in json.loads(done.stdout.splitlines()[-1])['refused']
