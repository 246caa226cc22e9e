"""The page of the scripts names every one, with a command line that it understands."""

from __future__ import annotations

import importlib
import re
import shlex

import pytest

from .conftest import FOLDER

PAGE = (FOLDER / 'README.md').read_text(encoding='utf-8')
LINES = dict(re.findall(r'^\| `(\w+)\.py` \|.*\| `python (.*)` \|$', PAGE, flags=re.MULTILINE))


def test_every_script_is_listed():
    scripts = {path.stem for path in FOLDER.glob('*.py') if path.read_text().startswith('#!')}
    assert set(LINES) == scripts
    for path in FOLDER.glob('*.py'):
        assert f'`{path.name}`' in PAGE


@pytest.mark.parametrize('name', LINES)
def test_a_script_says_what_it_does_and_knows_the_words_of_the_page(name, capsys):
    script, *words = shlex.split(LINES[name])
    assert script == f'experiments/{name}.py'
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(name).main([*words, '--help'])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert f'python {script}' in said
    assert all(word in said for word in words if word.startswith('--'))


@pytest.mark.parametrize(('page', 'anchor'), re.findall(r'\]\(\.\./(docs/[\w-]+\.md)(?:#([\w-]+))?\)', PAGE))
def test_links_lead_somewhere(page, anchor):
    text = (FOLDER.parent / page).read_text(encoding='utf-8')
    titles = {
        re.sub(r'[^\w\- ]', '', line.lstrip('# ')).lower().replace(' ', '-')
        for line in text.splitlines()
        if line.startswith('#')
    }
    assert not anchor or anchor in titles
