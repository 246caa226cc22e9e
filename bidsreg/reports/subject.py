"""The page of one subject, assembled with nireports."""

from __future__ import annotations

import base64
import copy
import tempfile
import typing
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from bidsreg.registration.atomic import write_atomic
from bidsreg.reports.elements import escape, frame, note
from bidsreg.reports.pictures import PICTURES, Picture, picture_path
from bidsreg.reports.record import PairRecord, collect
from bidsreg.reports.redraw import redraw
from bidsreg.reports.texts_end import error_section, errors_section, methods_section
from bidsreg.reports.texts_files import files_section
from bidsreg.reports.texts_numbers import numbers_section
from bidsreg.reports.texts_pair import anchor, facts_section

if typing.TYPE_CHECKING:
    from bidsreg.bids.pairs import Plan
    from bidsreg.outcome import Outcome
    from bidsreg.settings import Settings

#: Pictures that have nothing to show where the affine was kept.
OF_A_DEFORMATION = ('grid', 'jacobian')


def write_subject(subject: str, settings: Settings, plan: Plan, outcomes: Sequence[Outcome]) -> Path:
    """Write ``OUT/sub-<subject>.html`` by an atomic write.

    The figures stay where they are, or, with ``settings.self_contained``, are inside the page as everything else is;
    nothing is fetched from anywhere. Figures that are missing are drawn again first, see :func:`.redraw.redraw`.

    Returns
    -------
    Path
        The page.
    """
    from nireports.assembler.report import Report

    records = collect(subject, settings, plan, outcomes)
    page = settings.output_dir / f'sub-{subject}.html'
    with tempfile.TemporaryDirectory(prefix='bidsreg-report-') as folder:
        reportlets = _Reportlets(Path(folder))
        reportlets.add('files', files_section(subject, plan, records))
        for place, record in enumerate(records):
            _add_record(reportlets, f'p{place}', record, settings)
        reportlets.add('methods', methods_section(_citation(settings)))
        reportlets.add('errors', errors_section(records))
        bootstrap = _bootstrap(Path(folder), subject, records)

        def assemble(hidden: Path) -> None:
            Report(
                settings.output_dir,
                settings.run_uuid,
                bootstrap_file=bootstrap,
                out_filename=str(hidden),
                reportlets_dir=reportlets.folder,
            ).generate_report()

        return write_atomic(page, assemble)


class _Reportlets:
    """A folder of HTML fragments that nireports finds by their suffix.

    pybids reads every other entity wherever it first stands in the path, and folders above may be called anything.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / 'reportlets'
        self.folder.mkdir()

    def add(self, suffix: str, text: str) -> None:
        """Add a fragment; an empty one is no reportlet."""
        if text.strip():
            (self.folder / f'{suffix}.html').write_text(text, encoding='utf-8')


def _add_record(reportlets: _Reportlets, prefix: str, record: PairRecord, settings: Settings) -> None:
    """Add the fragments of one pair; pictures that are missing are drawn again."""
    reportlets.add(f'{prefix}facts', facts_section(record, settings))
    reportlets.add(f'{prefix}error', error_section(record, settings))
    reportlets.add(f'{prefix}numbers', numbers_section(record))
    reasons = redraw(record, settings)
    for name, picture in PICTURES.items():
        suffix = f'{prefix}{_suffix(name)}'
        path = picture_path(record.entities, settings.output_dir, name)
        if record.kept == 'affine' and name in OF_A_DEFORMATION:
            if name == OF_A_DEFORMATION[0]:
                reportlets.add(suffix, note('The affine was kept: there is no deformation to show.'))
        elif path.is_file():
            inside = settings.self_contained
            show = _embed(path, picture) if inside else _link(path.relative_to(settings.output_dir).as_posix(), picture)
            reportlets.add(suffix, show)
        elif name in reasons:
            reportlets.add(suffix, note(f'This picture is not here: {reasons[name]}.'))


def _suffix(name: str) -> str:
    """Return the name of a picture as a suffix, which has letters and digits only."""
    return name.replace('_', '')


def _link(where: str, picture: Picture) -> str:
    """Show a picture that lies beside the page."""
    link, alt = escape(where), escape(picture.alt)
    # what moves under the pointer must be an object
    shown = f'<img src="./{link}" alt="{alt}">'
    if picture.moves:
        shown = f'<object type="image/svg+xml" data="./{link}" aria-label="{alt}">{alt}: {link}</object>'
    return f'{frame(shown)}\n<small><a href="./{link}" target="_blank">{link}</a></small>'


def _embed(path: Path, picture: Picture) -> str:
    """Put a picture into the page."""
    text = path.read_text(encoding='utf-8')
    if picture.moves:
        return frame(text)
    code = base64.b64encode(text.encode()).decode()
    return frame(f'<img src="data:image/svg+xml;base64,{code}" alt="{escape(picture.alt)}">')


def _bootstrap(folder: Path, subject: str, records: Sequence[PairRecord]) -> Path:
    """Write the spec for nireports, with its section "pair" once for every pair."""
    package = resources.files('bidsreg.reports')
    spec: dict[str, Any] = yaml.safe_load(package.joinpath('spec.yml').read_text(encoding='utf-8'))
    for name in ('page.html', 'page.css'):
        (folder / name).write_text(package.joinpath(name).read_text(encoding='utf-8'), encoding='utf-8')
    sections = []
    for section in spec['sections']:
        if section['name'] != 'pair':
            sections.append(section)
            continue
        for place, record in enumerate(records):
            mine = copy.deepcopy(section)
            mine['name'], mine['title'] = anchor(record), record.title
            for reportlet in mine['reportlets']:
                if record.kept == 'affine' and 'affine_kept' in reportlet:
                    reportlet |= reportlet['affine_kept']
                reportlet.pop('affine_kept', None)
                reportlet['bids']['suffix'] = f'p{place}{reportlet["bids"]["suffix"]}'
            sections.append(mine)
    spec['sections'] = sections
    spec['title'] = f'bidsreg: sub-{subject}'
    spec['template_path'] = str(folder / 'page.html')
    path = folder / 'bootstrap.yml'
    path.write_text(yaml.safe_dump(spec, sort_keys=False, width=10_000), encoding='utf-8')
    return path


def _citation(settings: Settings) -> str:
    """Return the methods text of the run: the one in its logs, else a new one."""
    try:
        return (settings.output_dir / 'logs' / 'CITATION.md').read_text(encoding='utf-8')
    except OSError:
        from bidsreg.reports.citation import methods_text

        return methods_text(settings)
