"""The programs by name, none of whose libraries is imported to list them."""

from __future__ import annotations

import os
import subprocess
import sys

from bidsreg.programs import APP_PROGRAMS, PROGRAMS


def test_programs_are_listed_without_their_libraries():
    """Command lines stay quick, and torch and ANTs out of the app's own process."""
    code = (
        'import sys; from bidsreg.programs import PROGRAMS; '
        '[program.missing() for name, program in PROGRAMS.items() if not name.startswith("nifty")]; '
        'print([m for m in ("torch", "ants", "nipype", "nibabel", "picsl_greedy") if m in sys.modules])'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.strip() == '[]'


def test_every_program_describes_itself():
    assert {'ants-syn', 'ants-syn-cc', 'niftyreg', 'niftyreg-vel', 'niftyreg-mind', 'niftyreg-mind-vel'} == set(
        APP_PROGRAMS
    )
    peers = {'greedy', 'convexadam', 'fireants', 'elastix', 'syntx'}
    peers |= {'synthmorph', 'deedsbcv', 'anatomix+convexadam', 'unigradicon'}
    assert peers == set(PROGRAMS) - set(APP_PROGRAMS)
    for name, program in PROGRAMS.items():
        assert program.name == name
        assert program.description
        assert program.as_dict()['name'] == name
        assert program.as_dict(sloppy=True) != program.as_dict()
    assert len({str(program.as_dict()) for program in PROGRAMS.values()}) == len(PROGRAMS)
    for program in APP_PROGRAMS.values():
        assert program.sentence
        assert program.references


def test_the_programs_that_take_masks_leave_lesions_out():
    found = {name: program.leaves_out for name, program in PROGRAMS.items() if program.leaves_out}
    both, fixed = ('fixed', 'moving'), ('fixed',)
    assert found == {
        'ants-syn': both,
        'ants-syn-cc': both,
        'niftyreg': fixed,
        'niftyreg-vel': both,
        'niftyreg-mind': fixed,
        'niftyreg-mind-vel': both,
        'greedy': both,
    }
    assert 'niftyreg takes no mask of the moving image' in PROGRAMS['niftyreg'].cannot_leave_out('moving')


def test_an_absent_package_is_named_with_how_to_get_it(monkeypatch):
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    assert 'pip install convexAdam' in PROGRAMS['convexadam'].missing()
