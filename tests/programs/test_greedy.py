"""greedy, where it is installed: its field is what its own tool applies."""

from __future__ import annotations

import numpy as np
import pytest

from bidsreg.programs import PROGRAMS
from bidsreg.programs.process import run_python
from bidsreg.registration import Image
from tests.fake_program import executable
from tests.programs.comparison import relative_difference, usable


@pytest.mark.parametrize('name', [usable('greedy')])
def test_greedy_field_is_what_greedy_applies(name, heads, found):
    workspace, fields = found(name)
    words = ['-rf', workspace.path('fixed'), '-rm', workspace.path('moving'), workspace.path('theirs')]
    words = [str(word) for word in [*words, '-r', workspace.path('warp'), workspace.plain_affine]]
    # by itself, as in a run: another ITK in this process, such as elastix's, leaves greedy's without readers
    run_python(name, words, workspace)
    difference = relative_difference(heads, fields, Image.load(workspace.path('theirs')).data)
    assert np.percentile(difference, 99) < 2e-3
    assert np.median(difference) < 1e-5


def test_the_program_on_the_path_goes_first(tmp_path, monkeypatch):
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    monkeypatch.setenv('PATH', '/usr/bin:/bin')
    assert 'pip install picsl_greedy' in PROGRAMS['greedy'].missing()
    monkeypatch.setenv('PATH', f'{executable(tmp_path / "path", "greedy")}:/usr/bin:/bin')
    assert PROGRAMS['greedy'].missing() == ''
    assert PROGRAMS['greedy'].version() == '1.5.58'
