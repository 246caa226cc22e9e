"""The Boutiques descriptor of the app, made from its parser: ``python -m bidsreg.app.boutiques > boutiques.json``.

Boutiques (Glatard et al. 2018, doi:10.1093/gigascience/giy016) describes a command line in JSON, so that platforms can
offer it as a form, check what is filled in, and run it. Everything about options comes from
:func:`bidsreg.cli.build_parser`; only what a parser does not know is said here.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Any

from bidsreg import LARGEST_SEED, RESOLUTIONS, __version__
from bidsreg.bids.names import AFFINE_FORMATS, PRODUCTS, T2W_TO_T1W, Contrasts, output_name
from bidsreg.cli import DESCRIPTION, build_parser
from bidsreg.programs import APP_PROGRAMS
from bidsreg.registration.presets import PRESETS
from bidsreg.reports.study import STEM
from bidsreg.reports.study_spaces import STEM as SPACES_STEM

#: Boutiques takes a ``File`` (which may be a folder) for something that is there, and binds it into the container.
#: These are folders that the app makes where they are missing.
MADE = ('output_dir', 'work_dir', 'bids_database_dir')

#: What an option's number or name may be, where the app checks it after the parser.
LIMITS: dict[str, dict[str, Any]] = {
    'nprocs': {'minimum': 1},
    'omp_nthreads': {'minimum': 0},
    'random_seed': {'minimum': 0, 'maximum': LARGEST_SEED},
    'working_resolution': {'minimum': RESOLUTIONS[0], 'maximum': RESOLUTIONS[1]},
    'method': {
        'value-choices': [*PRESETS, *APP_PROGRAMS],
        'value-disables': {**{name: [] for name in PRESETS}, **{name: ['working_resolution'] for name in APP_PROGRAMS}},
    },
}

EXIT_CODES = {
    1: 'At least one pair failed or belongs to another run; the others are complete. The summary says which and why.',
    2: 'The command or its input cannot be used; said before any work.',
    130: 'Interrupted (SIGINT). What is done is kept: the same command goes on from there.',
    143: 'Terminated (SIGTERM). What is done is kept: the same command goes on from there.',
}


def descriptor() -> dict[str, Any]:
    """Describe the command line of the app.

    Returns
    -------
    dict
        A descriptor of schema 0.5, ready for JSON.

    Raises
    ------
    TypeError
        When the parser has an option of a kind that Boutiques has no words for.
    """
    # what --help and --version print is the descriptor's own business
    inputs = [_input(action) for action in build_parser()._actions if action.dest not in ('help', 'version')]
    keys = ' '.join(item['value-key'] for item in inputs)
    return {
        'name': 'bidsreg',
        'tool-version': __version__,
        'schema-version': '0.5',
        'author': 'The bidsreg developers',
        'description': ' '.join(DESCRIPTION.split()),
        'command-line': f'bidsreg {keys}',
        'container-image': {'type': 'docker', 'image': f'bidsreg/bidsreg:{__version__}'},
        'inputs': inputs,
        'output-files': list(_outputs()),
        'error-codes': [{'code': code, 'description': text} for code, text in EXIT_CODES.items()],
        # GB; for a subject with one pair of scans of 1 mm: docs/boutiques.md has what was measured
        'suggested-resources': {'cpu-cores': 2, 'ram': 4, 'disk-space': 1},
        'tags': {'domain': ['neuroinformatics', 'mri', 'bids-app', 'registration']},
    }


def _input(action: argparse.Action) -> dict[str, Any]:
    """Describe one option; what is not filled in stays out of the command line, for a configuration file to say."""
    flags = [text for text in action.option_strings if text.startswith('--')]
    name = flags[0][2:].replace('-', '_') if flags else action.dest
    described = {
        'id': name,
        'name': name.replace('_', ' '),
        'description': (action.help or '') % vars(action),
        'optional': not action.required,
        'value-key': f'[{name.upper()}]',
        **_kind(action, name),
        **LIMITS.get(name, {}),
    }
    if flags and not isinstance(action, argparse._CountAction):
        described['command-line-flag'] = flags[0]
    if action.choices:
        described['value-choices'] = list(action.choices)
    return described


def _kind(action: argparse.Action, name: str) -> dict[str, Any]:
    """Return the type of the value in Boutiques' words."""
    if isinstance(action, argparse._StoreTrueAction):
        return {'type': 'Flag'}
    if isinstance(action, argparse._CountAction):  # a flag has no number: the flag itself is the value
        letter = action.option_strings[0]
        return {'type': 'String', 'value-choices': [letter, letter + letter[1]]}
    if not isinstance(action, argparse._StoreAction | argparse._ExtendAction) or action.nargs not in (None, '+', '*'):
        raise TypeError(f'{name}: how is {action} told to Boutiques?')
    several = {'list': True, 'list-separator': ' ', 'min-list-entries': 1} if action.nargs else {}
    if action.type in (int, float):
        return {'type': 'Number', **({'integer': True} if action.type is int else {}), **several}
    place = str(action.metavar or name).upper().endswith(('DIR', 'FILE'))
    return {'type': 'File' if place and name not in MADE else 'String', **several}


#: What normalisations leave: id, text, and the file in a folder anat.
_OF_SPACES = (
    ('space_image', 'A scan in the space of a template', 'sub-*_space-*_desc-preproc_*.nii.gz'),
    ('space_qc', 'Numbers about a normalisation, and its verdict', 'sub-*_space-*_desc-normalisation_qc.json'),
)


def _outputs() -> Iterator[dict[str, Any]]:
    """Describe what is in the output folder; a run with ``--dry-run`` leaves nothing there."""
    out = '[OUTPUT_DIR]'
    yield _output('dataset', 'The derivative dataset', out, optional=False)
    yield _output('reports', 'Report of each subject', f'{out}/sub-*.html')
    yield _output('group', 'Table and page of the whole study (level group)', f'{out}/{STEM}.*')
    yield _output('log', 'Log of each run; its settings and crash files are beside it', f'{out}/logs/*/bidsreg.log')
    yield _output('group_spaces', 'Table of all normalisations (level group)', f'{out}/{SPACES_STEM}.*')
    for more, folder in (('', 'anat'), ('_of_session', 'ses-*/anat')):
        words = ', by session' if more else ''
        place = f'{out}/sub-*/{folder}'
        for name, text, file in _OF_SPACES:
            yield _output(name + more, text + words, f'{place}/{file}')
    plain, nested = {'subject': '*'}, {'subject': '*', 'session': '*'}
    every = Contrasts(moving='*')  # of any modality; the QC file of a T2w has no contrasts in its name
    for key, product in PRODUCTS.items():
        text = T2W_TO_T1W.fill(product.description) + ('; or of another modality' if product.of == 'moving' else '')
        for more, entities in (('', plain), ('_of_session', nested)):
            path = output_name(key, entities, T2W_TO_T1W if key == 'qc' else every)
            yield _output(key + more, text + (', by session' if more else ''), f'{out}/{path}')
    for name, extension in AFFINE_FORMATS.items():
        for text, entities in (('', plain), ('_of_session', nested)):
            path = output_name('affine_xfm', entities, every).with_suffix(extension)
            yield _output(f'affine_{name}{text}', f'Affine part of the transform, {name}', f'{out}/{path}')


def _output(name: str, text: str, template: str, optional: bool = True) -> dict[str, Any]:
    more = {'list': True} if '*' in template else {}
    return {'id': name, 'name': text, 'path-template': template, 'optional': optional, **more}


if __name__ == '__main__':
    json.dump(descriptor(), sys.stdout, indent=2)
    print()
