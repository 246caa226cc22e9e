"""Files of settings that somebody else made: nothing in them runs, and the user reads what is wrong."""

from __future__ import annotations

import pytest

from tests.app_fixtures import fails

DEEP = 20_000
CODE = "__import__('os').mkdir('trace')"

TOML = {
    'deep': 'derivatives = ' + '[' * DEEP + ']' * DEEP,
    'deep table': 'a.' * DEEP + 'b = 1',
    'digits': 'random_seed = ' + '9' * 401,
    'many digits': 'random_seed = ' + '9' * 9000,
    'digits of a float': 'mem_gb = ' + '9' * 401,
    'infinite': 'working_resolution = inf',
    'no text': 'method = "\\u0000"',
    'bytes': b'\xff\xfe\x00',
    'other type': 'participant_label = [{a = 1}]',
    'a method of ours': '__class__ = "x"',
    'code': f'method = "{CODE}"',
    'a folder in the place of a file': None,
}
YAML = {
    'object': '!!python/object/apply:os.mkdir [trace]',
    'name': 'plugin: !!python/name:os.mkdir',
    'deep': '[' * DEEP,
    'laughs': 'b0: &b0 [x, x]\n' + ''.join(f'b{n + 1}: &b{n + 1} [*b{n}, *b{n}]\n' for n in range(40)),
    'many': 'plugin: Linear\n---\nplugin: Linear',
    'code': f'plugin: "{CODE}"',
    'module': 'plugin: ../../evil',
    'bytes': b'\x00\xff',
    'number': 'plugin: 7',
    'arguments': 'plugin: Linear\nplugin_args: [1]',
    'a folder in the place of a file': None,
}
JSON = {
    'deep': '{"t1w": {"run": ' + '[' * DEEP + ']' * DEEP + '}}',
    'digits': '{"t1w": {"run": ' + '9' * 401 + '}}',
    'many digits': '{"t1w": {"run": ' + '9' * 9000 + '}}',
    'code': '{"t1w": {"acquisition": "' + CODE + '"}}',
    'pattern': '{"t1w": {"acquisition": "(a+)+$"}}',
    'entity': '{"t1w": {"__class__": "x"}}',
    'key': '{"__init__": {}}',
    'no object': '[{"t1w": {}}]',
    'object inside': '{"t1w": {"run": {"$gt": 0}}}',
    'bytes': b'\xff',
    'a folder in the place of a file': None,
}
FILES = [
    *(('--config-file', name, text) for name, text in TOML.items()),
    *(('--use-plugin', name, text) for name, text in YAML.items()),
    *(('--bids-filter-file', name, text) for name, text in JSON.items()),
    *(('--qc-thresholds', name, text) for name, text in TOML.items()),
]


@pytest.mark.parametrize(('option', 'text'), [(o, t) for o, _, t in FILES], ids=[f'{o} {n}' for o, n, _ in FILES])
def test_nothing_of_a_hostile_file_runs(app, capsys, tmp_path, option, text):
    path = tmp_path / 'settings file'
    if text is None:
        path.mkdir()
    else:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    fails(app, capsys, '', option, path)
    assert not (tmp_path / 'trace').exists()
    assert not (tmp_path / 'out').exists()
