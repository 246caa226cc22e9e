"""Other programs for deformable registration behind the door of ``bidsreg-pair``: same input, same output.

`ENGINES` holds them by name; an engine imports what it needs only when it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bidsreg.engines.base import Engine, EngineError
    from bidsreg.engines.registry import BASELINES, ENGINES

_HOMES = {'BASELINES': 'registry', 'ENGINES': 'registry', 'Engine': 'base', 'EngineError': 'base'}

__all__ = ['BASELINES', 'ENGINES', 'Engine', 'EngineError']


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'{__name__}.{_HOMES[name]}'), name)
