"""The group level as it is run, and what it writes as it is read."""

from __future__ import annotations

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path

from bidsreg.cli import main


def group(out: Path, *options) -> int:
    return main(['/nowhere', str(out), 'group', *map(str, options)])


def table(out: Path) -> dict[str, dict[str, str]]:
    with (out / 'group_registration.tsv').open(encoding='utf-8', newline='') as stream:
        rows = list(csv.DictReader(stream, delimiter='\t', quoting=csv.QUOTE_NONE))
    assert not any(None in row or None in row.values() for row in rows), 'the table is rectangular'
    return {row['pair']: row for row in rows}


def qc_file(out: Path, name: str) -> Path:
    (path,) = out.glob(f'sub-*/**/{name}_desc-registration_qc.json')
    return path


class Page(HTMLParser):
    """What a page loads, its links, its rows and its data."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding='utf-8')
        self.links, self.loads, self.places, self.text = [], [], [], ''
        self.feed(self.source)
        self.data = json.loads(re.search(r'type="application/json">(.*?)</script>', self.source, re.S)[1])

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.loads += [attrs[key] for key in ('src', 'srcset', 'data', 'poster') if key in attrs]
        self.loads += [attrs['href']] if tag == 'link' else []
        self.links += [attrs['href']] if tag == 'a' else []
        self.places += [int(attrs['data-place'])] if 'data-place' in attrs else []

    def handle_data(self, data):
        self.text += data
