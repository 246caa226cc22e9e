"""Devices: which are meant, and how GPUs are counted. The GPUs and the programs that count them are pretended."""

from __future__ import annotations

import logging
import sys

import pytest

from bidsreg.errors import InputError
from bidsreg.execution import devices


@pytest.fixture
def python(monkeypatch, tmp_path):
    """Put a script in the place of the Python that counts the GPUs, on a machine with signs of one."""
    monkeypatch.setattr(devices, 'SIGNS', (str(tmp_path),))
    devices.count_gpus.cache_clear()

    def script(text: str) -> None:
        path = tmp_path / 'python'
        path.write_text(f'#!/bin/sh\n{text}\n')
        path.chmod(0o755)
        monkeypatch.setattr(sys, 'executable', str(path))

    yield script
    devices.count_gpus.cache_clear()


@pytest.mark.parametrize(('text', 'count'), [('echo 2', 2), ('echo 0', 0), ('echo a greeting; echo 1', 1)])
def test_torch_counts_the_gpus(python, caplog, text, count):
    python(text)
    assert devices.count_gpus() == count
    assert not caplog.records


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('echo "  File x" >&2; echo "ImportError: libcudart.so.12: cannot open" >&2; exit 1', 'libcudart.so.12'),
        ('exit 3', 'it ended with 3'),
        ('echo many', 'many'),
    ],
)
def test_a_broken_torch_is_a_warning(python, caplog, text, said):
    python(text)
    assert devices.count_gpus() == 0
    assert devices.resolve('auto') == 'cpu'  # and it is not asked again
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert 'PyTorch does not work here' in record.message
    assert said in record.message
    with pytest.raises(InputError, match='PyTorch sees no CUDA device'):
        devices.require('cuda')


def test_torch_is_not_asked_where_there_is_no_sign_of_a_gpu(python, monkeypatch):
    python('echo 2')
    monkeypatch.setattr(devices, 'SIGNS', ())
    monkeypatch.setattr(devices.shutil, 'which', lambda _: None)
    assert devices.count_gpus() == 0


def test_auto_is_settled_before_work():
    assert [devices.resolve(device, lambda: 0) for device in ('auto', 'cpu', 'cuda:1')] == ['cpu', 'cpu', 'cuda:1']
    assert devices.resolve('auto', lambda: 2) == 'cuda'


@pytest.mark.parametrize(
    ('visible', 'names'), [(None, ['0', '1']), ('3, GPU-ab', ['3', 'GPU-ab']), ('5,6,7', ['5', '6']), ('', ['0', '1'])]
)
def test_gpus_are_called_as_cuda_calls_them(monkeypatch, visible, names):
    monkeypatch.setattr(devices, 'count_gpus', lambda: 2)
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    if visible is not None:
        monkeypatch.setenv('CUDA_VISIBLE_DEVICES', visible)
    assert devices.visible_gpus() == names


@pytest.mark.parametrize('device', ['gpu', 'cuda:x', 'cuda:', 'cuda:-1', 'CPU', '', 'cuda:0,1'])
def test_no_device_is_called_so(device):
    for work in (devices.check_name, devices.resolve, devices.require):
        with pytest.raises(InputError, match=r'--device .*: choose from auto, cpu, cuda, cuda:N'):
            work(device)


def test_a_gpu_that_is_not_there_is_an_error():
    for device in ('auto', 'cpu'):
        devices.require(device, lambda: pytest.fail('nobody asks for a GPU'))
    for device in ('cuda', 'cuda:1'):
        devices.require(device, lambda: 2)
    with pytest.raises(InputError, match='PyTorch sees 2 CUDA device'):
        devices.require('cuda:2', lambda: 2)
