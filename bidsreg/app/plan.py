"""The plan of a run for people: as a table on the console, and on disk."""

from __future__ import annotations

import contextlib
import typing

from bidsreg.bids.locks import lock_dataset
from bidsreg.bids.pairs import Plan, plan_table
from bidsreg.bids.publish import scratch_folder
from bidsreg.registration.atomic import write_text
from bidsreg.settings import CHOICES, Settings
from bidsreg.tables import cell

if typing.TYPE_CHECKING:
    import pandas as pd

#: So many subjects without a pair are named in a message.
_MOST_NAMED = 5


def show_plan(plan: Plan) -> None:
    """Print the plan as a table: which files are registered to which, which not, and why."""
    from rich.console import Console
    from rich.table import Table

    frame = plan_table(plan)
    table = Table(*frame.columns, title=f'{len(plan.pairs)} pair(s) to register')
    for row in frame.itertuples(index=False):
        table.add_row(*row)
    console = Console()
    Console(width=None if console.is_terminal else 200).print(table)


def describe_empty_plan(plan: Plan, settings: Settings) -> str:
    """Say why a plan has no pair, and nobody to be normalised where that was asked for."""
    reasons = [f'sub-{subject}: {reason}' for subject, reason in plan.subjects_without_pair.items()]
    more = f' (and {len(reasons) - _MOST_NAMED} subjects more)' if len(reasons) > _MOST_NAMED else ''
    fixed, *moving = plan.contrasts
    words = f'There is no pair of a {fixed} and a {" or ".join(moving)} to register'
    words += f', and no T1w or T2w to take to {" ".join(settings.output_spaces)}. ' if settings.output_spaces else '. '
    return words + '; '.join(reasons[:_MOST_NAMED]) + more


def describe_without_ratio(plan: Plan, settings: Settings) -> str:
    """Say of which pairs no ratio is made though one was asked for; empty where there are none."""
    names = [pair.name for pair in plan.pairs if not pair.has_ratio]
    if settings.ratio == 'none' or not names:
        return ''
    more = f' and {len(names) - _MOST_NAMED} more' if len(names) > _MOST_NAMED else ''
    return f'--ratio is made of a T1w and a T2w (no UNIT1), not of {", ".join(names[:_MOST_NAMED])}{more}.'


def _merged(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Put tables together that may have columns for other contrasts; raise KeyError where the old one is none."""
    import pandas as pd

    files = [contrast.lower() for contrast in CHOICES['modalities']]
    files.append('reference')
    both = pd.concat([old[['subject', 'session', 'decision', 'reason', *set(old.columns) & set(files)]], new])
    there = [column for column in files if column in both]
    return both.fillna('')[['subject', 'session', *there, 'decision', 'reason']]


def write_plan_table(table: pd.DataFrame, settings: Settings) -> None:
    """Write the plan to ``logs/pairs.tsv``; rows of subjects that are not in this run stay."""
    import pandas as pd

    path = settings.output_dir / 'logs' / 'pairs.tsv'
    table = table.map(lambda text: cell(text) if text else '')
    with lock_dataset(settings.output_dir), scratch_folder(settings.output_dir, path.name) as scratch:
        with contextlib.suppress(OSError, ValueError, KeyError):
            old = pd.read_csv(path, sep='\t', dtype=str, keep_default_na=False)
            table = _merged(old[~old['subject'].isin(table['subject'])], table)
            table = table.sort_values(['subject', 'session'], kind='stable')
        write_text(path, table.to_csv(sep='\t', index=False), scratch=scratch, durable=True)
