"""Assemble the page of one subject with nireports."""

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
from bidsreg.reports import texts
from bidsreg.reports.pictures import PICTURES, Picture, picture_path
from bidsreg.reports.record import PairRecord, collect
from bidsreg.reports.redraw import redraw

if typing.TYPE_CHECKING:
    from bidsreg.bids.pairs import Plan
    from bidsreg.outcome import Outcome
    from bidsreg.settings import Settings

#: Pictures that have nothing to show where the affine was kept.
OF_A_DEFORMATION = ('grid', 'jacobian')


def write_subject(subject: str, settings: Settings, plan: Plan, outcomes: Sequence[Outcome]) -> Path:
    """Write ``OUT/sub-<subject>.html``: whole, or not at all.

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
        reportlets = _Reportlets(Path(folder), subject)
        reportlets.add('files', texts.files(subject, plan, records))
        for place, record in enumerate(records):
            _add_record(reportlets, f'p{place}', record, settings)
        reportlets.add('methods', texts.methods(_citation(settings)))
        reportlets.add('errors', texts.errors(records))
        bootstrap = _bootstrap(Path(folder), subject, records)

        def assemble(hidden: Path) -> None:
            Report(
                settings.output_dir,
                settings.run_uuid,
                bootstrap_file=bootstrap,
                out_filename=str(hidden),
                reportlets_dir=reportlets.root,
                subject=subject,
            ).generate_report()

        return write_atomic(page, assemble)


class _Reportlets:
    """A folder of HTML fragments that nireports finds by their ``desc``."""

    def __init__(self, folder: Path, subject: str) -> None:
        self.root, self.subject = folder / 'reportlets', subject
        self.folder = self.root / f'sub-{subject}' / 'figures'
        self.folder.mkdir(parents=True)

    def add(self, desc: str, text: str) -> None:
        """Add a fragment; an empty one is no reportlet."""
        if text.strip():
            (self.folder / f'sub-{self.subject}_desc-{desc}_T2w.html').write_text(text, encoding='utf-8')


def _add_record(reportlets: _Reportlets, prefix: str, record: PairRecord, settings: Settings) -> None:
    reportlets.add(f'{prefix}facts', texts.facts(record, settings))
    reportlets.add(f'{prefix}error', texts.error(record, settings))
    reportlets.add(f'{prefix}numbers', texts.numbers(record))
    reasons = redraw(record, settings)
    for name, picture in PICTURES.items():
        desc = f'{prefix}{_desc(name)}'
        path = picture_path(record.entities, settings.output_dir, name)
        if record.kept == 'affine' and name in OF_A_DEFORMATION:
            if name == OF_A_DEFORMATION[0]:
                reportlets.add(desc, texts.note('The affine was kept: there is no deformation to show.'))
        elif path.is_file():
            inside = settings.self_contained
            show = _embed(path, picture) if inside else _link(path.relative_to(settings.output_dir).as_posix(), picture)
            reportlets.add(desc, show)
        elif name in reasons:
            reportlets.add(desc, texts.note(f'This picture is not here: {reasons[name]}.'))


def _desc(name: str) -> str:
    """Name of a picture as the value of an entity, which has letters and digits only."""
    return name.replace('_', '')


def _link(where: str, picture: Picture) -> str:
    """Show a picture that lies beside the page."""
    link, alt = texts.escape(where), texts.escape(picture.alt)
    # what moves under the pointer must be an object
    shown = f'<img src="./{link}" alt="{alt}">'
    if picture.moves:
        shown = f'<object type="image/svg+xml" data="./{link}" aria-label="{alt}">{alt}: {link}</object>'
    return f'{texts.frame(shown)}\n<small><a href="./{link}" target="_blank">{link}</a></small>'


def _embed(path: Path, picture: Picture) -> str:
    """Put a picture into the page."""
    text = path.read_text(encoding='utf-8')
    if picture.moves:
        return texts.frame(text)
    code = base64.b64encode(text.encode()).decode()
    return texts.frame(f'<img src="data:image/svg+xml;base64,{code}" alt="{texts.escape(picture.alt)}">')


def _bootstrap(folder: Path, subject: str, records: Sequence[PairRecord]) -> Path:
    """The spec with its section "pair" once for every pair, written for nireports to read."""
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
            mine['name'], mine['title'] = texts.anchor(record), record.title
            for reportlet in mine['reportlets']:
                if record.kept == 'affine' and 'affine_kept' in reportlet:
                    reportlet |= reportlet['affine_kept']
                reportlet.pop('affine_kept', None)
                reportlet['bids']['desc'] = f'p{place}{reportlet["bids"]["desc"]}'
            sections.append(mine)
    spec['sections'] = sections
    spec['title'] = f'bidsreg: sub-{subject}'
    spec['template_path'] = str(folder / 'page.html')
    path = folder / 'bootstrap.yml'
    path.write_text(yaml.safe_dump(spec, sort_keys=False, width=10_000), encoding='utf-8')
    return path


def _citation(settings: Settings) -> str:
    """The Methods text of the run: the one in its logs, else a new one."""
    try:
        return (settings.output_dir / 'logs' / 'CITATION.md').read_text(encoding='utf-8')
    except OSError:
        from bidsreg.reports.citation import methods_text

        return methods_text(settings)
