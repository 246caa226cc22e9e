"""What the documentation says is there: its links, and the options it names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bidsreg.benchmark.cli import build_parser as build_benchmark_parser
from bidsreg.cli import build_parser
from bidsreg.registration import cli as pair_cli

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]
#: Options of other programs: ``python -m`` ``bidsreg.example`` and ``bidsreg.engines.niftyreg``, pip, SynthSeg, bosh.
OTHERS = {'--check', '--extra-index-url', '--index-url', '--install', '--no-deps', '--resample', '--wheel'}
OTHERS |= {'--no-container', '--skip-data-collection'}
#: Of Docker, Podman, buildah and Apptainer.
OTHERS |= {'--build-arg', '--cleanenv', '--containall', '--device', '--entrypoint', '--format', '--gpus', '--network'}
OTHERS |= {'--no-home', '--nv', '--read-only', '--rm', '--tmpfs'}


def options_of(parser) -> set[str]:
    return {option for option in parser._option_string_actions if option.startswith('--')}


def named_in(text: str) -> set[str]:
    return set(re.findall(r'(?<![\w-])--[a-z][a-z0-9_-]+', text))


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for link in re.findall(r'\]\(([^)\s#]+)[^)]*\)', page.read_text(encoding='utf-8')):
        if not re.match(r'[a-z]+:', link):
            assert (page.parent / link).exists(), link


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_options_exist(page):
    parsers = (build_parser(), pair_cli.build_parser(), build_benchmark_parser())
    known = OTHERS.union(*map(options_of, parsers))
    assert named_in(page.read_text(encoding='utf-8')) <= known


def test_every_option_is_told():
    """Each option of both programs is named in the page on their use, in one of its spellings."""
    told = named_in((ROOT / 'docs' / 'usage.md').read_text(encoding='utf-8'))
    for parser in (build_parser(), pair_cli.build_parser()):
        for action in parser._actions:
            spellings = {option for option in action.option_strings if option.startswith('--')}
            assert not spellings or spellings & (told | {'--help'}), spellings
