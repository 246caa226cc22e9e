"""Programs of other people for deformable registration, one small class each, behind one door.

A program gets the same images, masks, affine, threads and seed as a preset of this package, and its answer is turned
into the same kind of result. The room is laid out so that a program states only what differs:

- `base`: the contract `Program`, the class of its settings, and what happens to the answer of any program
- `exchange`: the files that a program gets (`Workspace`) and the displacements that it leaves (`Fields`)
- `process`: how a program is started (`run_program`), and a Python process for one that is a library (`run_python`)
- `ants`, `niftyreg`, `greedy`, `convexadam`, `fireants`, `elastix`, `syntx`, `synthmorph`, `deeds`, `anatomix`,
  `unigradicon`: the programs; `registry` lists them
- `niftyreg_install`: where NiftyReg's binaries are looked for, and how they get there

`PROGRAMS` holds them by name, `APP_PROGRAMS` those that the BIDS App offers. Names are imported on first use, and a
program imports its library only when it runs, so that command lines can list them at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bidsreg.programs.base import Program, ProgramResult, ProgramSettings
    from bidsreg.programs.errors import ProgramError
    from bidsreg.programs.exchange import Fields, Workspace
    from bidsreg.programs.process import run_program, run_python
    from bidsreg.programs.registry import APP_PROGRAMS, PROGRAMS

_HOMES = {
    'APP_PROGRAMS': 'registry',
    'Fields': 'exchange',
    'PROGRAMS': 'registry',
    'Program': 'base',
    'ProgramError': 'errors',
    'ProgramResult': 'base',
    'ProgramSettings': 'base',
    'Workspace': 'exchange',
    'run_program': 'process',
    'run_python': 'process',
}

__all__ = [
    'APP_PROGRAMS',
    'PROGRAMS',
    'Fields',
    'Program',
    'ProgramError',
    'ProgramResult',
    'ProgramSettings',
    'Workspace',
    'run_program',
    'run_python',
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'{__name__}.{_HOMES[name]}'), name)
