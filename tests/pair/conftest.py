"""Run bidsreg-pair on a small pair of heads."""

import json

import pytest

from bidsreg.pair import cli
from bidsreg.programs import PROGRAMS
from tests.fake_program import make_heads


@pytest.fixture(scope='session')
def heads(tmp_path_factory):
    return make_heads(tmp_path_factory.mktemp('heads of a pair'))  # a path with spaces


@pytest.fixture
def run(heads, tmp_path, capsys, monkeypatch):
    """Run the command on the heads; exit code, result.json or None, and what it said."""

    def run(*more, program=None, name='pretended', masks=True):
        words = [heads.paths['fixed'], heads.paths['moving'], '--affine', heads.paths['affine'], '--device', 'cpu']
        if masks:
            words += ['--fixed-mask', heads.paths['fixed_mask'], '--moving-mask', heads.paths['moving_mask']]
        words += ['--method', name, '--out', tmp_path / 'out', '--threads', '1', *more]
        code = cli.main([str(word) for word in words], {'pretended': program} if program else PROGRAMS)
        told = tmp_path / 'out/result.json'
        return code, json.loads(told.read_text()) if told.exists() else None, capsys.readouterr().err

    return run
