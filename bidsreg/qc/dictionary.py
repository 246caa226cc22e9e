"""The dictionary of the QC file: what each of its numbers is, and in which unit."""

from __future__ import annotations

import json
import re
from importlib import resources

from bidsreg.bids.names import T2W_TO_T1W, Contrasts


def dictionary_text() -> str:
    """Return the dictionary as the text of a JSON file."""
    return resources.files('bidsreg.qc').joinpath('dictionary.json').read_text(encoding='utf-8')


def read_dictionary(contrasts: Contrasts = T2W_TO_T1W) -> dict[str, dict[str, str]]:
    """Return the dictionary: for the dotted path of a number in the QC file its ``Description`` and ``Units``.

    Parameters
    ----------
    contrasts
        Those of the pair whose QC file it is; they are in its paths, in small letters, and in the descriptions.
    """
    spelled = {'T1w': contrasts.fixed, 'T2w': contrasts.moving}
    spelled |= {usual.lower(): contrast.lower() for usual, contrast in spelled.items()}

    def spell(text: str) -> str:
        return re.sub('T1w|T2w|t1w|t2w', lambda found: spelled[found[0]], text)

    words = json.loads(dictionary_text())
    return {spell(path): {key: spell(text) for key, text in item.items()} for path, item in words.items()}
