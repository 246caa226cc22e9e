"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, text: str) -> Path:
    """Write a text file under a hidden name beside its place, then rename it.

    Parameters
    ----------
    path : Path
        Where it is to be; its folder exists.
    text : str
        UTF-8.

    Returns
    -------
    Path
        `path`.
    """
    hidden = path.with_name(f'.{path.name}.{os.getpid()}')
    try:
        hidden.write_text(text, encoding='utf-8')
        os.replace(hidden, path)
    finally:
        hidden.unlink(missing_ok=True)
    return path
