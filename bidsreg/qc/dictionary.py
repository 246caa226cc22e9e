"""The dictionary of the QC file: what each of its numbers is, and in which unit."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
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


def common_words(kinds: Iterable[Contrasts]) -> Contrasts:
    """Return how the two scans of all pairs are called: by their contrasts, where these are the same in all."""
    kinds = list(kinds)
    fixed, moving = {kind.fixed for kind in kinds}, {kind.moving for kind in kinds}
    return Contrasts(
        fixed.pop() if len(fixed) == 1 else 'fixed scan', moving.pop() if len(moving) == 1 else 'moving scan'
    )


def read_dictionaries(kinds: Iterable[Contrasts]) -> dict[str, dict[str, str]]:
    """Return the dictionary of the QC files of several kinds of pairs.

    Parameters
    ----------
    kinds
        Their contrasts. What all files have is described in :func:`common_words`.
    """
    kinds = list(kinds)
    each = [read_dictionary(kind) for kind in kinds]
    known = {path: item for one in reversed(each) for path, item in one.items()}
    known = {path: known[path] for one in each for path in one}
    shared = read_dictionary(common_words(kinds))
    return known | {path: item for path, item in shared.items() if each and all(path in one for one in each)}
