"""People who are normalised, in an output folder: small files, numbers in order."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bidsreg.bids.normalisations import Normalisation, find_references
from bidsreg.bids.pairs import Plan, find_pairs
from bidsreg.bids.spaces import parse_spaces
from bidsreg.settings import Settings
from bidsreg.templates.prepare import Template, make_template
from tests import data
from tests.fake_spaces import publish_fake_space
from tests.templates.flow import write_template


@dataclass(frozen=True)
class Normalised:
    """An output folder with three people in one space, two by a T1w, one by a T2w."""

    settings: Settings
    plan: Plan
    units: tuple[Normalisation, ...]
    template: Template


def make_normalised(folder: Path) -> Normalised:
    """Write a dataset, a template, and what three normalisations leave."""
    raw = data.write_dataset(folder / 'raw', {'01': {None: ['T1w']}, '02': {None: ['T1w']}, '03': {None: ['T2w']}})
    write_template(folder / 'templateflow', 'A')
    settings = Settings(bids_dir=raw, output_dir=folder / 'out', output_spaces=('A:res-1:res-2',))
    template = make_template(parse_spaces(settings.output_spaces)[0], folder / 'templateflow', folder / 'work')
    plan = find_pairs(settings)
    units = tuple(
        Normalisation(reference, template.space, template.stamp, template.origin, template.sources)
        for reference in find_references(plan, settings)
    )
    for seed, unit in enumerate(units):
        publish_fake_space(unit, template, settings, folder / f'made{seed}', seed=seed)
    return Normalised(settings, plan, units, template)
