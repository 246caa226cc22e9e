"""Files of tensors: there and back, and every broken or hostile one is an error that names it."""

from __future__ import annotations

import json
import pickle
import struct

import pytest
import torch

from bidsreg.errors import InputError
from bidsreg.translation.tensorfiles import KEY, digest_of, read_header, read_tensors, require_like, write_tensors

TENSORS = {'b': torch.arange(6.0).reshape(2, 3).T, 'a': torch.tensor(3), 'c': torch.tensor([True, False])}


@pytest.fixture
def path(tmp_path):
    write_tensors(tmp_path / 'some.safetensors', TENSORS, {'kind': 'x', 'list': [1, 'zwei', None]})
    return tmp_path / 'some.safetensors'


def test_there_and_back(path):
    header, tensors = read_tensors(path, 'a file')
    assert header == {'kind': 'x', 'list': [1, 'zwei', None]}
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in tensors.items():
        assert torch.equal(tensor, TENSORS[name])
        assert tensor.dtype == TENSORS[name].dtype


def test_the_same_content_is_the_same_bytes(path, tmp_path):
    other = tmp_path / 'other.safetensors'
    write_tensors(other, dict(reversed(TENSORS.items())), {'list': [1, 'zwei', None], 'kind': 'x'})
    assert other.read_bytes() == path.read_bytes()
    assert digest_of(other) == digest_of(path)
    write_tensors(other, TENSORS, {'kind': 'y'})
    assert digest_of(other) != digest_of(path)
    assert {file.name for file in tmp_path.iterdir()} == {'some.safetensors', 'other.safetensors'}


def test_every_truncated_file_is_an_error(path):
    whole = path.read_bytes()
    for size in {*range(0, len(whole), 7), len(whole) - 1}:
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match=r'some\.safetensors'):
            read_tensors(path, 'a file')
    path.write_bytes(whole + b'more')
    with pytest.raises(InputError, match=r'some\.safetensors'):
        read_tensors(path, 'a file')


def raw(header: bytes, body: bytes = b'') -> bytes:
    return struct.pack('<Q', len(header)) + header + body


@pytest.mark.parametrize(
    'content',
    [
        b'',
        b'hello',
        pickle.dumps({'a': 1}),
        struct.pack('<Q', 2**62) + b'{}',
        raw(b'{}'),
        raw(b'[]'),
        raw(b'{"__metadata__": {"bidsreg": "[1, 2]"}}'),
        raw(b'{"__metadata__": {"bidsreg": "no json"}}'),
        raw(b'{"__metadata__": {"bidsreg": 5}}'),
        raw(json.dumps({'__metadata__': {'bidsreg': '[' * 10**5}}).encode()),
        raw(b'{"__metadata__": {"other": "{}"}}'),
        raw(b'{"a": {"dtype": "F32", "shape": [1000000000000], "data_offsets": [0, 4]}}', b'0000'),
        raw(b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}', b'00000000'),
        raw(b'{"a": {"dtype": "object", "shape": [1], "data_offsets": [0, 4]}}', b'0000'),
    ],
)
def test_what_is_no_such_file(tmp_path, content):
    path = tmp_path / 'bad.safetensors'
    path.write_bytes(content)
    with pytest.raises(InputError, match=r'bad\.safetensors'):
        read_tensors(path, 'a model')


def test_what_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r'nosuch .*a model is needed'):
        read_header(tmp_path / 'nosuch', 'a model')
    with pytest.raises(InputError, match='is not there'):
        read_header(tmp_path, 'a model')


def test_numbers_that_are_not_finite(tmp_path):
    path = tmp_path / 'x.safetensors'
    write_tensors(path, {'weight': torch.tensor([1.0, float('nan')])}, {})
    with pytest.raises(InputError, match=r'x\.safetensors .*weight holds numbers that are not finite'):
        read_tensors(path, 'a model')


@pytest.mark.parametrize(
    ('tensors', 'words'),
    [
        ({}, 'a is missing'),
        ({'a': torch.zeros(2), 'b': torch.zeros(1)}, 'b is unknown'),
        ({'a': torch.zeros(3)}, r'a is torch.float32 of shape \(3,\), not torch.float32 of shape \(2,\)'),
        ({'a': torch.zeros(2, dtype=torch.float64)}, r'a is torch.float64'),
    ],
)
def test_other_tensors_than_those_wanted(tmp_path, tensors, words):
    with pytest.raises(InputError, match=words) as raised:
        require_like(tmp_path / 'x', tensors, {'a': torch.zeros(2)}, 'a model')
    assert str(tmp_path / 'x') in str(raised.value)
    require_like(tmp_path / 'x', {'a': torch.ones(2)}, {'a': torch.zeros(2)}, 'a model')


def test_the_key_of_the_header_is_ours():
    assert KEY == 'bidsreg'
