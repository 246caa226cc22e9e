"""A quiet console, and a file with everything."""

import logging

import pytest

from bidsreg.execution import logs


def say() -> None:
    for name in ('bidsreg.one', 'bidsregistry', 'nipype.workflow'):
        for level in (logging.DEBUG, logging.INFO, logging.ERROR):
            logging.getLogger(name).log(level, '%s at %d', name, level)


def said(text: str) -> set[str]:
    return {
        line[line.index(' at ') - len(name) :] for line in text.splitlines() for name in NAMES if f'{name} at' in line
    }


NAMES = ('bidsreg.one', 'bidsregistry', 'nipype.workflow')


@pytest.mark.parametrize(
    ('verbose', 'expected'),
    [
        (0, {'bidsreg.one at 20', 'bidsreg.one at 40'}),
        (1, {'bidsreg.one at 20', 'bidsreg.one at 40', 'nipype.workflow at 20', 'nipype.workflow at 40'}),
        (
            5,
            {
                'bidsreg.one at 10',
                'bidsreg.one at 20',
                'bidsreg.one at 40',
                'nipype.workflow at 20',
                'nipype.workflow at 40',
            },
        ),
    ],
)
def test_the_console_shows_what_was_asked_for(capsys, verbose, expected):
    with logs.to_console(verbose):
        say()
    say()
    captured = capsys.readouterr()
    assert said(captured.err) - {'nipype.workflow at 10'} == expected
    assert not said(captured.out) & expected


def test_the_file_has_everything_said_meanwhile(tmp_path):
    path = tmp_path / 'logs' / 'run.log'
    before = [len(logging.getLogger(name).handlers) for name in logs.FILE]
    with logs.to_file(path):
        say()
    say()
    lines = path.read_text().splitlines()
    assert sum('bidsreg.one at' in line for line in lines) == 3
    assert sum('nipype.workflow at 40' in line for line in lines) == 1
    assert not any('bidsregistry' in line for line in lines)
    assert [len(logging.getLogger(name).handlers) for name in logs.FILE] == before


def test_run_names_never_repeat():
    names = [logs.new_run_uuid() for _ in range(100)]
    assert len(set(names)) == 100
