"""Other programs for deformable registration behind the door of ``bidsreg-pair``: same input, same output.

`PROGRAMS` holds them by name; a program imports what it needs only when it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bidsreg.programs.base import Program, ProgramError
    from bidsreg.programs.registry import APP_PROGRAMS, PROGRAMS

_HOMES = {'APP_PROGRAMS': 'registry', 'PROGRAMS': 'registry', 'Program': 'base', 'ProgramError': 'base'}

__all__ = ['APP_PROGRAMS', 'PROGRAMS', 'Program', 'ProgramError']


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'{__name__}.{_HOMES[name]}'), name)
