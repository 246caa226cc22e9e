"""The content security policy of a page: nothing but its own script runs, and nothing is fetched from elsewhere."""

from __future__ import annotations

import base64
import hashlib

PLACE = '@POLICY@'
"""The place in a page where the policy is to stand."""


def policy(script: str, style: str | None = None, *, pictures: bool = False) -> str:
    """Return the policy of a page.

    Parameters
    ----------
    script : str
        The text of its only script, exactly as it stands between the tags.
    style : str, optional
        The text of its only style. Default: any, as pictures inside the page have styles of their own.
    pictures : bool
        Pictures that lie beside the page are shown; a page that is a file is not always itself its ``'self'``.
    """
    beside = " 'self' file:" if pictures else ''
    parts = {
        'default-src': "'none'",
        'script-src': _hash(script),
        'style-src': _hash(style) if style is not None else "'unsafe-inline'",
        'img-src': f'data:{beside}',
        # what moves under the pointer is an object, whose document counts as a frame, too
        'object-src': beside.strip() or "'none'",
        'frame-src': beside.strip() or "'none'",
        'base-uri': "'none'",
        'form-action': "'none'",
    }
    return '; '.join(f'{name} {value}' for name, value in parts.items())


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
