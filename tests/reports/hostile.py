"""Files of a study as nobody wrote them: damaged ones, and ones with markup in every place that a text may have."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bidsreg.outcome import Outcome
from tests import fake_study

MARK = '"\'></script></style></title></td><img src=x onerror="window.hit=1"><script>window.hit=1</script><b id=hit>'
"""What would make a tag, end a script or an attribute, or run, in any place of a page."""

#: In the place of any value of a QC file; as JSON, since some are none that Python would write.
DAMAGE = {
    'digits': '9' * 401,
    'negative digits': '-' + '9' * 401,
    'infinite': 'Infinity',
    'no number': 'NaN',
    'huge': '1e308',
    'text': '"abc"',
    'empty list': '[]',
    'list': '[1, "a", null]',
    'three': '[1, 2, 3]',
    'object': '{"a": {"b": "c"}}',
    'deep': '[' * 900 + ']' * 900,
    'deep object': '{"a":' * 900 + '1' + '}' * 900,
    'deeper': '[' * 90000 + ']' * 90000,
    'true': 'true',
    'null': 'null',
}


def places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """The paths of all values in a QC file, of objects and lists, too; of long lists the first entries."""
    inner = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for key, item in inner:
        yield (*path, key)
        yield from places(item, (*path, key))


def replaced(facts: dict, path: tuple, text: str) -> str:
    """The JSON of a QC file in which one value is this text of JSON."""
    made = copy.deepcopy(facts)
    target = made
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = '@HERE@'
    return json.dumps(made).replace('"@HERE@"', text)


def good_facts(name: str) -> dict[str, Any]:
    """The content of a sound QC file."""
    return fake_study.facts(name, 1, np.random.default_rng(0))


def qc_path(out: Path, name: str) -> Path:
    """Where the QC file of a pair without a session lies."""
    return out / name / 'anat' / f'{name}_desc-registration_qc.json'


def marked(value: Any) -> Any:
    """The same value with markup in every text, and in a key more of every object; numbers as they are."""
    if isinstance(value, dict):
        return {key: marked(item) for key, item in value.items()} | {MARK: MARK}
    if isinstance(value, list):
        return [marked(item) for item in value] + ([MARK] if not value or isinstance(value[0], str) else [])
    return f'{value}{MARK}' if isinstance(value, str) else value


def write_outcomes(out: Path, subject: str, name: str) -> None:
    """A record of what failed, with markup in every place."""
    outcome = Outcome(name, subject, None, 'failed', step=MARK, detail=MARK).as_dict()
    content = {name: {**outcome, 'crash_file': 'logs/run/crash-1.txt'}, MARK: {**outcome, 'pair_name': MARK}}
    path = out / 'logs' / f'sub-{subject}_outcomes.json'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
