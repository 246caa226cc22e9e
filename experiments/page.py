#!/usr/bin/env python3
"""Run the benchmarks of docs/benchmark.md, and write their tables into the page.

    python experiments/page.py OUT --data heads-2mm=DIR scans-2mm=DIR [--leave-out METHOD ...]

Every table of :data:`TABLES` whose data are named is made by one command, in a folder of OUT, and takes its place
between two marks of the page; the others stay as they stand there. heads-2mm are simulated heads with their truth and
scans-2mm raw scans of several people and sessions, both brought to voxels of 2 mm by coarsen.py. Methods that cannot be
run here are left out, and so are those of --leave-out; the page says which.

OUT belongs to one state of the package: it is refused where the package has changed since, or is not committed, so that
all numbers of a page are of one commit. What is done there is not done again: run the same command to go on after an
interruption, or with more methods. One method runs at a time, on one thread of the CPU.
"""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from common import head, new_parser, row

from bidsreg.benchmark.files import write_json
from bidsreg.benchmark.measures import FOLDS, SECONDS
from bidsreg.benchmark.methods import INTER, known_methods, known_translations, resolve
from bidsreg.benchmark.results import read_cell
from bidsreg.benchmark.tables import PUBLISHED_GROUP, TableCell, paper_table, primary
from bidsreg.execution.machine import processor
from bidsreg.registration.atomic import write_text

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / 'docs' / 'benchmark.md'
#: Whose state decides the numbers.
PACKAGE = ('bidsreg', 'workflows')
MARKER = 'page.json'
#: Every method that takes scans of two contrasts; between people, presets take their form for it.
METHODS = tuple(name for name in known_methods() if not name.endswith(INTER))
#: Measures that the page leaves out: the percent tell folds, too, and by the clock a machine that does something else
#: beside tells little.
HIDDEN = [FOLDS.key, SECONDS.key]
PAIRS = 'Pairs'
#: What runs a benchmark; its exit codes when all tables are written: everything is done, something failed.
BENCHMARK = (sys.executable, '-m', 'bidsreg.benchmark')
WROTE = (0, 1)


@dataclass(frozen=True)
class Wanted:
    """What was asked for, whichever table.

    Attributes
    ----------
    out : Path
        Folder of all runs.
    left_out : tuple of str
        Methods that are not run.
    """

    out: Path
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class PageTable:
    """A table of ``bidsreg-benchmark``: every row with its spread, sorted, the best method last.

    Attributes
    ----------
    name : str
        Its name in the marks of the page, and of its folder.
    data, shown : str
        What its data are called by ``--data``, and in the command that the page shows.
    caption : str
        What is simulated and what is real.
    task : str
        See :data:`bidsreg.benchmark.tasks.TASKS`.
    options : tuple of str
        More of its options.
    methods : tuple of str
        What is compared.
    figure : str
        Name beside the page of the picture of quality by method; empty: none.
    """

    name: str
    data: str
    shown: str
    caption: str
    task: str = 'inter'
    options: tuple[str, ...] = ()
    methods: tuple[str, ...] = METHODS
    figure: str = ''

    def folder(self, wanted: Wanted) -> Path:
        """Return where its results are."""
        return wanted.out / self.name

    def words(self, asked: Iterable[str]) -> list[str]:
        """Return the options of its command for some methods, behind the data and the folder."""
        how = ['--nprocs', '1', '--omp-nthreads', '1', '--device', 'cpu']
        return ['--task', self.task, *self.options, *how, '--methods', *asked]

    def run(self, source: Path, wanted: Wanted) -> None:
        """Do what is not done yet; a method that fails is a row of the table.

        Raises
        ------
        SystemExit
            If the command broke off.
        """
        asked = [name for name in self.methods if name not in wanted.left_out]
        command = [*BENCHMARK, str(source), str(self.folder(wanted))]
        command += ['-w', str(wanted.out / 'work' / self.name), '--skip-missing', *self.words(asked)]
        code = subprocess.run(command, check=False).returncode
        if code not in WROTE or not (self.folder(wanted) / 'results.tsv').is_file():
            sys.exit(f'{self.name}: bidsreg-benchmark ended with {code}; the page is as it was.')

    def block(self, wanted: Wanted, facts: Mapping[str, str]) -> str:
        """Return what stands between its marks."""
        count, notes, lines, methods = self.lines(wanted)
        made = f'bidsreg of commit {facts["commit"]}; one thread, on {facts["machine"]}.'
        command = wrapped(['bidsreg-benchmark', self.shown, 'OUT', *self.words(methods)])
        parts = [
            filled(f'{self.caption} {count}; {made}'),
            '\n'.join(filled(f'- {note}', '  ') for note in notes),
            '\n'.join(['```', *command, '```']),
            '\n'.join(lines),
            *(f'![Quality by method]({picture})' for picture in self.pictures(wanted)),
        ]
        return '\n\n'.join(parts)

    def lines(self, wanted: Wanted) -> tuple[str, list[str], list[str], list[str]]:
        """Return how much it holds, what is said above it, its lines in Markdown, and the methods in it."""
        results = pd.read_csv(self.folder(wanted) / 'results.tsv', sep='\t', na_values=['n/a'], keep_default_na=False)
        results[HIDDEN] = float('nan')
        present = set(results['method'])
        methods = [method for name in self.methods if (method := resolve(name, self.task)).name in present]
        asked = [method.asked for method in methods]
        table = paper_table(results, methods, resolve('node-mind', self.task).name, title=self.name)
        notes = [*table.notes, *table.failures, *self._on_missing(wanted, asked)]
        rows = [cells for group, below in table.groups if group != PUBLISHED_GROUP for cells in below]
        quality = primary(results)
        means = results[results['status'] == 'done'].groupby('method')[quality.key].mean() * quality.better
        rows.sort(key=lambda cells: means.get(cells[0].text, float('-inf')))
        count = results['pair'].nunique()
        complete = all(cells[1].text == f'{count}/{count}' for cells in rows)
        shown = [number for number, name in enumerate(table.columns) if not (name == PAIRS and complete)]
        printed = [head(*(escaped(table.columns[number]) for number in shown))]
        printed += [row(*(printed_cell(cells[number], number == 0) for number in shown)) for cells in rows]
        return f'{count} pair{"s" if count > 1 else ""}', notes, printed, asked

    def pictures(self, wanted: Wanted) -> dict[str, Path]:
        """Return the picture of what methods are compared by: Dice, or the error at points, or the maps."""
        drawn = (self.folder(wanted) / 'figures' / f'{stem}.png' for stem in ('dice', 'tre', 'rescan'))
        return {self.figure: next(path for path in drawn if path.exists())} if self.figure else {}

    def _on_missing(self, wanted: Wanted, present: Sequence[str]) -> list[str]:
        """Say which methods are not in the table, and why."""
        absent = [name for name in self.methods if name not in present]
        named = [name for name in absent if name in wanted.left_out]
        others = [name for name in absent if name not in wanted.left_out]
        why = {'Not run, as they were left out for time': named, 'Not run, as they are not installed': others}
        return [f'{reason}: {", ".join(names)}.' for reason, names in why.items() if names]


SIMULATED = (
    'Simulated, not scanned: heads made from the label maps of twelve people (see above), voxels of 2 mm, 32 labels '
    'that are the truth.'
)
TWO_PEOPLE = 'The T1w of one person and the T2w of another.'
ONE_HEAD = 'T1w and T2w of the same head, whose 2000 points have known places in both.'
REAL = (
    'Real scans, nothing simulated: two people with multiple sclerosis (Lesjak et al. 2016), voxels of 2×2×3 mm (T1w) '
    'and 2×2×3.3 or 2×2×4 mm (T2w).'
)
DRAWN = ('--pairs', '12', '--seed', '1')
TABLES: Mapping[str, PageTable] = {
    table.name: table
    for table in (
        PageTable(
            'inter',
            'heads-2mm',
            'HEADS',
            f'{SIMULATED} {TWO_PEOPLE}',
            options=DRAWN,
            figure='benchmark-dice.png',
        ),
        PageTable(
            'translations',
            'heads-2mm',
            'HEADS',
            f'{SIMULATED} {TWO_PEOPLE} Translations are trained on people who are not in the pair.',
            options=(*DRAWN, '--translation-steps', '300'),
            methods=('affine', 'node-lncc', 'node-mind', *known_translations()),
        ),
        PageTable(
            'intra',
            'heads-2mm',
            'HEADS',
            f'{SIMULATED} {ONE_HEAD}',
            task='intra',
            options=('--pairs', '6', '--seed', '1'),
        ),
        PageTable(
            'real-inter',
            'scans-2mm',
            'INPUT',
            f'{REAL} The T1w of one and the T2w of the other, first sessions. Labels are no truth: three tissue '
            'classes by Atropos, carried to the T2w by a rigid.',
            options=('--label-with', 'atropos'),
        ),
        PageTable(
            'real-rescan',
            'scans-2mm',
            'INPUT',
            f'{REAL} One of them has two sessions; no labels: how far the maps between them are apart.',
            task='rescan',
            methods=('affine', 'node-lncc', 'node-mind', 'ants-syn', 'niftyreg', 'greedy', 'convexadam'),
        ),
    )
}


# ---------------------------------------------------------------------------------------------------- Markdown
def escaped(text: str) -> str:
    """Return a text for a cell of Markdown."""
    return text.replace('|', r'\|')


def printed_cell(cell: TableCell, is_method: bool) -> str:
    """Return a cell in Markdown: methods are set as code, the best of a column bold."""
    text = f'`{cell.text}`' if is_method else escaped(cell.text)
    return f'**{text}**' if cell.best else text


def filled(text: str, indent: str = '') -> str:
    """Return a text on lines of up to 120 characters, the first of them not indented."""
    return textwrap.fill(text, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def wrapped(words: Sequence[str]) -> list[str]:
    """Return a command on lines of up to 120 characters that a shell reads as one."""
    lines = textwrap.wrap(
        shlex.join(words), 116, subsequent_indent='    ', break_long_words=False, break_on_hyphens=False
    )
    return [f'{line} \\' for line in lines[:-1]] + lines[-1:]


def put(page: str, name: str, block: str) -> str:
    """Return a page in which a block stands between the marks of a table.

    Raises
    ------
    SystemExit
        If the page has no such marks, or has them twice.
    """
    begin, end = f'<!-- page.py: {name} -->', f'<!-- page.py: end of {name} -->'
    place = re.compile(f'{re.escape(begin)}\n.*?{re.escape(end)}\n', re.DOTALL)
    if page.count(begin) != 1 or page.count(end) != 1 or not place.search(page):
        sys.exit(f'The page needs the lines {begin} and {end}, each once and in this order.')
    return place.sub(lambda _: f'{begin}\n{block}\n\n{end}\n', page)


# ---------------------------------------------------------------------------------------------------- one commit
def git(*words: str, root: Path) -> str:
    """Return what git says."""
    return subprocess.run(['git', '-C', str(root), *words], check=True, capture_output=True, text=True).stdout.strip()


def state_of(root: Path) -> dict[str, str]:
    """Return the commit of a checkout, the digests of the package in it, and the machine.

    Raises
    ------
    SystemExit
        If the package has changes that no commit holds.
    """
    if changed := git('status', '--porcelain', '--', *PACKAGE, root=root):
        sys.exit(f'Commit the package first, so that its numbers are those of a commit:\n{changed}')
    trees = [git('rev-parse', f'HEAD:{part}', root=root) for part in PACKAGE]
    commit = git('rev-parse', '--short=7', 'HEAD', root=root)
    return {'commit': commit, 'package': ' '.join(trees), 'machine': processor()}


def claim(out: Path, state: Mapping[str, str]) -> Mapping[str, str]:
    """Write into a folder whose numbers it holds, and return what was written there first.

    Raises
    ------
    SystemExit
        If it holds something else, or the numbers of another package or machine.
    """
    before = read_cell(out / MARKER)
    if before is None:
        if out.exists() and any(out.iterdir()):
            sys.exit(f'{out} is not empty, and no folder of this script: give another.')
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / MARKER, dict(state))
        return state
    if before['package'] != state['package']:
        sys.exit(f'{out} holds numbers of commit {before["commit"]}; the package has changed since: give another.')
    if before['machine'] != state['machine']:
        sys.exit(f'{out} holds numbers of another machine, {before["machine"]}: give another.')
    return before


# ---------------------------------------------------------------------------------------------------- the command
def named_folder(text: str) -> tuple[str, Path]:
    """Read NAME=DIR."""
    name, _, folder = text.partition('=')
    known = sorted({table.data for table in TABLES.values()})
    if name not in known or not folder:
        raise argparse.ArgumentTypeError(f'{text!r}: NAME=DIR is wanted, NAME being one of {", ".join(known)}')
    return name, Path(folder).resolve()


def main(argv: Sequence[str] | None = None, root: Path = ROOT) -> None:
    """Make every table whose data are there, and write the page."""
    parser = new_parser(__doc__)
    parser.add_argument('out', metavar='OUT', type=Path)
    parser.add_argument('--data', nargs='+', required=True, type=named_folder, metavar='NAME=DIR')
    parser.add_argument('--tables', nargs='+', choices=TABLES, metavar='NAME', help=f'[{" ".join(TABLES)}]')
    parser.add_argument(
        '--leave-out', nargs='+', choices=sorted({*METHODS, *known_translations()}), default=(), metavar='METHOD'
    )
    parser.add_argument('--page', type=Path, default=PAGE, help='[docs/benchmark.md]')
    args = parser.parse_args(argv)
    data, wanted = dict(args.data), Wanted(args.out.resolve(), tuple(args.leave_out))
    if absent := [str(folder) for folder in data.values() if not folder.is_dir()]:
        parser.error(f'no folder: {", ".join(absent)}')
    tables = [TABLES[name] for name in args.tables or TABLES if TABLES[name].data in data]
    page = args.page.read_text(encoding='utf-8')
    for table in tables:  # marks that are not there are found before any work
        put(page, table.name, '')
    facts = claim(wanted.out, state_of(root))
    for table in tables:
        table.run(data[table.data], wanted)
        page = put(args.page.read_text(encoding='utf-8'), table.name, table.block(wanted, facts))
        write_text(args.page, page)
        for name, drawn in table.pictures(wanted).items():
            shutil.copyfile(drawn, args.page.with_name(name))
        print(f'{table.name}: written into {args.page}', flush=True)


if __name__ == '__main__':
    main()
