"""Options that every command has: amounts of memory, and one option for each setting."""

from __future__ import annotations

import argparse

import pytest

from bidsreg.errors import InputError
from bidsreg.execution import options
from bidsreg.execution.options import parse_memory
from bidsreg.execution.settings import ExecutionSettings


@pytest.mark.parametrize(
    ('text', 'gb'),
    [
        ('16GB', 16),
        ('16G', 16),
        ('1.5g', 1.5),
        ('800MB', 0.8),
        ('2000', 2),
        ('2TB', 2000),
        (' 4 GiB ', 4),
        ('.5G', 0.5),
    ],
)
def test_memory_units(text, gb):
    assert parse_memory(text) == pytest.approx(gb)


@pytest.mark.parametrize('text', ['', '16XB', 'G', '-3G', '0', '1e3', 'lots', '1.5.2G'])
def test_memory_nonsense(text):
    with pytest.raises(InputError, match='amount of memory'):
        parse_memory(text)


def test_what_the_options_give_are_settings():
    parser = argparse.ArgumentParser(argument_default=argparse.SUPPRESS)
    options.add_device_option(parser.add_argument, 'where it is')
    for add in (options.add_resource_options, options.add_work_dir_option, options.add_verbosity_option):
        add(parser.add_argument)
    words = [
        '--device',
        'cuda:1',
        '--nprocs',
        '3',
        '--omp-nthreads',
        '2',
        '--mem',
        '4GB',
        '--use-plugin',
        '/p.yml',
        '-w',
        '/w',
        '-vv',
    ]
    given = vars(parser.parse_args(words))
    settings = ExecutionSettings(**given)
    assert {name: getattr(settings, name) for name in given} == given
    assert vars(parser.parse_args([])) == {}  # what is not given is for the settings to say
