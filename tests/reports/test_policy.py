"""The policy names the script and the style of a page, and nothing else."""

from __future__ import annotations

import base64
import hashlib

from bidsreg.reports.policy import policy


def test_only_this_script_runs():
    rules = dict(part.split(' ', 1) for part in policy('alert(1)', 'b {}').split('; '))
    hashes = {text: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in ('alert(1)', 'b {}')}
    assert rules['script-src'] == f"'sha256-{hashes['alert(1)']}'"
    assert rules['style-src'] == f"'sha256-{hashes['b {}']}'"
    assert rules['default-src'] == rules['object-src'] == "'none'"
    assert rules['img-src'] == 'data:'


def test_pictures_beside_a_page_and_in_it():
    beside, inside = policy('x', 'y', pictures=True), policy('x')
    assert "object-src 'self' file:" in beside
    assert "style-src 'unsafe-inline'" in inside
    assert 'unsafe' not in beside
