"""The part of fetching that has TemplateFlow's client in it: a process of its own, see :mod:`.fetch`.

The client reads its folder from the environment when it is imported, and fills it with empty files.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bidsreg.bids.spaces import Space
from bidsreg.templates.sources import MissingTemplateError, TemplateFlow, has_content


def download(space: Space, home: Path) -> dict[str, Any]:
    """Get the files of a template with TemplateFlow's client, which works in `home` by its environment.

    Returns
    -------
    dict
        ``files``: their paths below `home`; or ``refused``: what is wrong with what was asked for.
    """
    # here, for it fills its folder
    from templateflow import api

    try:
        found = TemplateFlow().named(space, home)
    except MissingTemplateError as error:
        return {'refused': error.problem}
    for path in found.paths:
        if not has_content(path):
            api.get(space.name, **query_of(path))
    return {'files': [path.relative_to(home).as_posix() for path in found.paths]}


def query_of(path: Path) -> dict[str, Any]:
    """Return the words by which TemplateFlow's client knows a file; what its name has not is None."""
    stem, _, extension = path.name.partition('.')
    *parts, suffix = stem.split('_')
    values = {key: value for key, _, value in (part.partition('-') for part in parts)}
    numbers = {
        name: int(values[key]) if key in values else None for name, key in (('resolution', 'res'), ('cohort', 'cohort'))
    }
    return {
        **numbers,
        'hemi': values.get('hemi'),
        'desc': values.get('desc'),
        'suffix': suffix,
        'extension': f'.{extension}',
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Download what the first word, JSON, asks for, and print as JSON what there is then."""
    asked = json.loads((sys.argv[1:] if argv is None else argv)[0])
    space = Space(asked['name'], asked['cohort'], tuple(asked['resolutions']))
    print(json.dumps(download(space, Path(asked['home']))))


if __name__ == '__main__':
    main()
