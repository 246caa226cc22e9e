"""The reports that a person reads after a run: pictures of every pair, a page for each subject, a page of the study.

:mod:`.pictures` is the registry of pictures; :mod:`.drawings` and :mod:`.field` draw them (files in, SVG out) with
:mod:`.slicing` and :mod:`.canvas`, and :mod:`.redraw` draws again what is missing. :mod:`.record` collects what is
known of a pair; :mod:`.texts_files`, :mod:`.texts_pair`, :mod:`.texts_numbers` and :mod:`.texts_end` make the parts of
a page out of :mod:`.elements`, and :mod:`.subject` assembles it with nireports. :mod:`.study` collects the pairs of a
study, :mod:`.study_table` and :mod:`.study_page` write its table and its page. :mod:`.space_record`, :mod:`.spaces`,
:mod:`.texts_spaces` and :mod:`.study_spaces` do the same for normalisations. :mod:`.citation` writes the methods text.
"""

from __future__ import annotations

import typing
from collections.abc import Sequence
from pathlib import Path

if typing.TYPE_CHECKING:
    from bidsreg.bids.pairs import Plan
    from bidsreg.outcome import Outcome
    from bidsreg.settings import Settings

__all__ = ['write_reports']


def write_reports(
    settings: Settings, plan: Plan, outcomes: Sequence[Outcome] = (), normalisations: Sequence[Outcome] = ()
) -> tuple[Path, ...]:
    """Write the page of every subject of the plan that has a pair, or was normalised.

    A page holds all pairs of its subject that are in the plan or in the derivatives, those that failed included. It
    is built from what lies in the output folder (QC files, figures, logs), so it can be built again at any time.

    Parameters
    ----------
    settings : Settings
        The run, for the folders of its datasets.
    plan : Plan
        The pairs, and the files that were left out, with reasons.
    outcomes : sequence of Outcome
        The outcomes of the pairs in this run. A failed pair of an earlier run keeps what was known of it then.
    normalisations : sequence of Outcome
        The outcomes of the normalisations in this run.

    Returns
    -------
    tuple of Path
        The pages, in the order of the subjects.

    Raises
    ------
    RuntimeError
        When a page could not be written; the other pages are there.
    """
    from bidsreg.reports.subject import write_subject

    subjects = sorted({pair.subject for pair in plan.pairs} | {outcome.subject for outcome in normalisations})
    pages, failures = [], []
    for subject in subjects:
        try:
            pages.append(write_subject(subject, settings, plan, outcomes, normalisations))
        except Exception as error:  # one bad page must not cost the others
            failures.append((subject, error))
    if failures:
        said = '; '.join(f'sub-{subject}: {type(error).__name__}: {error}' for subject, error in failures)
        raise RuntimeError(f'{len(failures)} of {len(subjects)} reports could not be written: {said}') from failures[0][
            1
        ]
    return tuple(pages)
