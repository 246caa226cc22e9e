"""The dictionary of the QC file: what each of its numbers is, and in which unit."""

from __future__ import annotations

import json
from importlib import resources


def dictionary_text() -> str:
    """Return the dictionary as the text of a JSON file."""
    return resources.files('bidsreg.qc').joinpath('dictionary.json').read_text(encoding='utf-8')


def read_dictionary() -> dict[str, dict[str, str]]:
    """Return the dictionary: for the dotted path of a number in the QC file its ``Description`` and ``Units``."""
    return json.loads(dictionary_text())
