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
from markupsafe import Markup

from bidsreg.registration.atomic import write_atomic
from bidsreg.reports.elements import escape, fill, frame, note
from bidsreg.reports.pictures import PICTURES, picture_path
from bidsreg.reports.policy import PLACE, policy
from bidsreg.reports.record import UNUSABLE, PairRecord, collect
from bidsreg.reports.redraw import expected, redraw
from bidsreg.reports.space_record import SpaceRecord, collect_spaces
from bidsreg.reports.spaces import SPACE_PICTURES, space_picture_path
from bidsreg.reports.texts_end import error_section, errors_section, methods_section
from bidsreg.reports.texts_files import files_section, kept_line
from bidsreg.reports.texts_numbers import numbers_section
from bidsreg.reports.texts_pair import anchor, check_told, facts_section
from bidsreg.reports.texts_spaces import space_section
from bidsreg.reports.vector import plain_svg

if typing.TYPE_CHECKING:
    from bidsreg.bids.pairs import Plan
    from bidsreg.outcome import Outcome
    from bidsreg.settings import Settings

#: What a page is made of; nireports finds it in a folder.
TEMPLATES = ('page.html', 'page.css', 'page.js')
#: What is said of a picture, with places for the contrasts.
TOLD = ('subtitle', 'description')
#: Pictures that have nothing to show where the linear alignment was kept.
OF_A_DEFORMATION = ('grid', 'jacobian')


def write_subject(
    subject: str,
    settings: Settings,
    plan: Plan,
    outcomes: Sequence[Outcome],
    normalisations: Sequence[Outcome] = (),
) -> Path:
    """Write ``OUT/sub-<subject>.html`` by an atomic write.

    The figures stay where they are, or, with ``settings.self_contained``, are inside the page as everything else is;
    nothing is fetched from anywhere. Figures that are missing are drawn again first, see :func:`.redraw.redraw`.

    Returns
    -------
    Path
        The page.
    """
    from nireports.assembler.report import Report

    records = [_usable(record) for record in collect(subject, settings, plan, outcomes)]
    page = settings.output_dir / f'sub-{subject}.html'
    with tempfile.TemporaryDirectory(prefix='bidsreg-report-') as folder:
        reportlets = _Reportlets(Path(folder))
        spaces = collect_spaces(settings, normalisations, subject)
        reportlets.add('files', files_section(subject, plan, records, spaces))
        for place, record in enumerate(records):
            _add_record(reportlets, f'p{place}', record, settings)
        for place, space in enumerate(spaces):
            _add_space(reportlets, f's{place}', space, settings)
        reportlets.add('methods', methods_section(_citation(settings, plan)))
        reportlets.add('errors', errors_section(records))
        bootstrap = _bootstrap(Path(folder), subject, records, spaces, settings.self_contained)

        def assemble(hidden: Path) -> None:
            Report(
                settings.output_dir,
                settings.run_uuid,
                bootstrap_file=bootstrap,
                out_filename=str(hidden),
                reportlets_dir=reportlets.folder,
            ).generate_report()

        return write_atomic(page, assemble)


def _usable(record: PairRecord) -> PairRecord:
    """Return a record without its QC file where nothing can be told of that: the other pairs are told."""
    try:
        check_told(record)
        numbers_section(record)
        kept_line(record)
    except UNUSABLE as error:
        return record.without_numbers(f'{type(error).__name__}: {error}')
    return record


class _Reportlets:
    """A folder of HTML fragments that nireports finds by their suffix.

    pybids reads every other entity wherever it first stands in the path, and folders above may be called anything.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / 'reportlets'
        self.folder.mkdir()

    def add(self, suffix: str, text: str) -> None:
        """Add a fragment; an empty one is no reportlet, and what is no HTML of ours is text."""
        if text.strip():
            (self.folder / f'{suffix}.html').write_text(escape(text), encoding='utf-8')


def _add_record(reportlets: _Reportlets, prefix: str, record: PairRecord, settings: Settings) -> None:
    """Add the fragments of one pair; pictures that are missing are drawn again."""
    reportlets.add(f'{prefix}facts', facts_section(record, settings))
    reportlets.add(f'{prefix}error', error_section(record, settings))
    reportlets.add(f'{prefix}numbers', numbers_section(record))
    reasons = redraw(record, settings)
    for name, picture in PICTURES.items():
        if not expected(record, name):
            continue
        suffix = f'{prefix}{_suffix(name)}'
        path = picture_path(record, settings.output_dir, name)
        if record.kept == 'affine' and name in OF_A_DEFORMATION:
            if name == OF_A_DEFORMATION[0]:
                reportlets.add(suffix, note('The linear alignment was kept: there is no deformation to show.'))
        elif path.is_file():
            reportlets.add(suffix, _show(path, record.contrasts.fill(picture.alt), picture.moves, settings))
        elif name in reasons:
            reportlets.add(suffix, note(f'This picture is not here: {reasons[name]}.'))


def _add_space(reportlets: _Reportlets, prefix: str, record: SpaceRecord, settings: Settings) -> None:
    """Add the fragments of one normalisation."""
    reportlets.add(f'{prefix}spacefacts', space_section(record))
    for name, picture in SPACE_PICTURES.items():
        path = space_picture_path(record.figure_entities, settings.output_dir, name, record.contrast)
        if path.is_file() and not record.failed:
            reportlets.add(f'{prefix}{name}', _show(path, picture.alt, picture.moves, settings))


def _suffix(name: str) -> str:
    """Return the name of a picture as a suffix, which has letters and digits only."""
    return name.replace('_', '')


def _show(path: Path, alt: str, moves: bool, settings: Settings) -> Markup:
    """Show a picture that is nothing but one; of any other say why it is not shown."""
    try:
        text = plain_svg(path.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        return note(f'This picture is not shown: {path.name}: {error}.')
    if settings.self_contained:
        return _embed(text, alt, moves)
    return _link(path.relative_to(settings.output_dir), alt, moves)


def _link(path: Path, alt: str, moves: bool) -> Markup:
    """Show a picture that lies beside the page."""
    where = f'./{path.as_posix()}'
    # what moves under the pointer must be an object
    shown = fill('<img src="{}" alt="{}">', where, alt)
    if moves:
        shown = fill('<object type="image/svg+xml" data="{}" aria-label="{}">{}: {}</object>', where, alt, alt, path)
    return fill('{}\n<small><a href="{}" target="_blank">{}</a></small>', frame(shown), where, path)


def _embed(text: str, alt: str, moves: bool) -> Markup:
    """Put a picture into the page."""
    if moves:
        return frame(Markup(text))
    packed = base64.b64encode(text.encode()).decode()
    return frame(fill('<img src="data:image/svg+xml;base64,{}" alt="{}">', packed, alt))


def _bootstrap(
    folder: Path, subject: str, records: Sequence[PairRecord], spaces: Sequence[SpaceRecord], inside: bool
) -> Path:
    """Write the spec for nireports, with "pair" once for every pair; `inside`: pictures are in the page."""
    package = resources.files('bidsreg.reports')
    spec: dict[str, Any] = yaml.safe_load(package.joinpath('spec.yml').read_text(encoding='utf-8'))
    texts = {name: package.joinpath(name).read_text(encoding='utf-8').strip() for name in TEMPLATES}
    style = None if inside else texts['page.css']
    rules = escape(policy(texts['page.js'], style, pictures=not inside))
    texts['page.html'] = texts['page.html'].replace(PLACE, rules)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding='utf-8')
    sections = []
    for section in spec['sections']:
        if section['name'] == 'space':
            sections += [_space_section(section, place, record) for place, record in enumerate(spaces)]
            continue
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
                reportlet |= {key: record.contrasts.fill(reportlet[key]) for key in TOLD if key in reportlet}
            sections.append(mine)
    spec['sections'] = sections
    spec['title'] = f'bidsreg: sub-{subject}'
    spec['template_path'] = str(folder / 'page.html')
    path = folder / 'bootstrap.yml'
    path.write_text(yaml.safe_dump(spec, sort_keys=False, width=10_000), encoding='utf-8')
    return path


def _space_section(section: dict[str, Any], place: int, record: SpaceRecord) -> dict[str, Any]:
    """Return the section "space" of the spec for one normalisation."""
    mine = copy.deepcopy(section)
    mine['name'], mine['title'] = record.anchor, record.title
    for reportlet in mine['reportlets']:
        reportlet['bids']['suffix'] = f's{place}{reportlet["bids"]["suffix"]}'
    return mine


def _citation(settings: Settings, plan: Plan) -> str:
    """Return the methods text of the run: the one in its logs, else a new one."""
    try:
        return (settings.output_dir / 'logs' / 'CITATION.md').read_text(encoding='utf-8')
    except OSError:
        from bidsreg.reports.citation import methods_text

        return methods_text(settings, lesions=plan.has_lesions)
