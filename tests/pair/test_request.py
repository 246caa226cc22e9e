"""What was asked for, from the words of the command line."""

import dataclasses
from pathlib import Path

import pytest

from bidsreg.pair import cli
from bidsreg.pair.methods import PRESET_OPTIONS
from bidsreg.pair.request import OPTIONAL_INPUTS, PairRequest

NEEDED = ['t1.nii', 't2.nii', '--out', 'out']


def asked(*more):
    return PairRequest.from_arguments(cli.build_parser().parse_args([*NEEDED, *more]))


def test_the_parser_and_the_request_have_the_same_defaults():
    assert asked() == PairRequest(fixed=Path('t1.nii'), moving=Path('t2.nii'), out=Path('out'))


def test_what_is_given_twice_stays_in_order_and_cannot_be_changed():
    request = asked('--set', 'channels=3', '--set', 'levels=4:40', '--start', 'f.h5', 'i.h5')
    assert request.assignments == (('channels', '3'), ('levels', '4:40'))
    assert request.start == (Path('f.h5'), Path('i.h5'))
    assert hash(request) == hash(dataclasses.replace(request))


def test_only_files_that_were_named_are_told():
    assert asked('--affine', 'a.txt', '--moving-mask', 'm.nii').input_names() == {
        'fixed': 't1.nii',
        'moving': 't2.nii',
        'moving_mask': 'm.nii',
        'affine': 'a.txt',
    }
    assert asked('--start', 'f.h5', 'i.h5').input_names()['start'] == ['f.h5', 'i.h5']
    assert asked().read_inputs() == {}


@pytest.mark.parametrize('name', [*PRESET_OPTIONS, *OPTIONAL_INPUTS])
def test_names_of_fields_are_written_right(name):
    assert name in {field.name for field in dataclasses.fields(PairRequest)}
