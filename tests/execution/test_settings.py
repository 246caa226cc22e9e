"""Settings of the execution: the same for the app and the benchmark, checked once."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from bidsreg.benchmark.settings import BenchmarkSettings
from bidsreg.errors import InputError
from bidsreg.execution.settings import ExecutionSettings
from bidsreg.settings import Settings


def test_threads_default_to_the_processes():
    assert ExecutionSettings(nprocs=3).omp_nthreads == 3
    assert ExecutionSettings(nprocs=64).omp_nthreads == 8
    assert ExecutionSettings(nprocs=4, omp_nthreads=2).omp_nthreads == 2


def test_paths_are_absolute():
    settings = ExecutionSettings(work_dir='~/work here', use_plugin='p.yml')
    assert settings.work_dir == Path.home() / 'work here'
    assert settings.use_plugin == Path.cwd() / 'p.yml'


def of_the_app(**values) -> Settings:
    return Settings(bids_dir='raw', output_dir='out', **values)


def of_the_benchmark(**values) -> BenchmarkSettings:
    return BenchmarkSettings(input='raw', output_dir='out', methods=('affine',), **values)


@pytest.mark.parametrize('make', [ExecutionSettings, of_the_app, of_the_benchmark])
@pytest.mark.parametrize(
    ('values', 'message'),
    [
        ({'device': 'gpu'}, '--device.*cuda:N'),
        ({'device': 'cuda:x'}, '--device'),
        ({'nprocs': 0}, '--nprocs must be above zero'),
        ({'nprocs': '4'}, "nprocs should be of type int, not '4'"),
        ({'nprocs': 4.0}, 'nprocs should be of type int'),
        ({'omp_nthreads': -1}, '--omp-nthreads must be above zero'),
        ({'mem_gb': -1.0}, '--mem must be above zero'),
        ({'mem_gb': 0.008}, '--mem is 8 MB.*a number without a unit is MB.*8GB'),
        ({'mem_gb': 0.0995}, '--mem is 99.5 MB'),
        ({'mem_gb': '16GB'}, 'mem_gb should be of type float'),
        ({'mem_gb': True}, 'mem_gb should be of type float'),
        ({'work_dir': None}, 'work_dir should be of type Path'),
        ({'stop_on_first_crash': 1}, 'stop_on_first_crash should be of type bool'),
        ({'verbose': '2'}, 'verbose should be of type int'),
    ],
)
def test_bad_values_are_refused_by_everybody_alike(make, values, message):
    with pytest.raises(InputError, match=message):
        make(**values)


def test_app_and_benchmark_own_the_same_fields():
    common = {field.name for field in fields(ExecutionSettings)}
    for settings in (of_the_app(nprocs=3), of_the_benchmark(nprocs=3)):
        assert common <= {field.name for field in fields(settings)}
        assert (settings.nprocs, settings.omp_nthreads, settings.device) == (3, 3, 'auto')
