"""Who is normalised to which space, by which scan, and what that leaves: plan, names, completeness.

A normalisation is the work of one reference scan and one template, whatever resolutions are wanted. It stands beside
the pairs: it takes what they left, and whatever becomes of it, they stay as they are.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bidsreg.bids.lesions import Lesion, find_lesions
from bidsreg.bids.masks import find_mask
from bidsreg.bids.names import ENTITIES, RATIO, RATIO_KINDS, build_name, mask_space, pair_outputs, ratio_path, sidecar
from bidsreg.bids.pairs import Pair, Plan
from bidsreg.bids.publish import is_complete
from bidsreg.bids.ratios import why_without_ratio
from bidsreg.bids.scans import Scan
from bidsreg.bids.sidecars import bids_uri, read_json
from bidsreg.bids.spaces import Space

if typing.TYPE_CHECKING:
    from bidsreg.settings import Settings

#: The contrasts of reference scans, the better first.
REFERENCES = ('T1w', 'T2w')
#: Changes with what the steps of a normalisation do, and then all are done again.
VERSION = 1


@dataclass(frozen=True)
class Reference:
    """The scan by which a person is normalised.

    Attributes
    ----------
    scan
        The scan.
    reason
        Why this one.
    mask, mask_reason
        The user's own brain mask of it, and where it comes from or that there is none.
    lesions, lesion_problems
        The user's files that say where lesions of it are, and why a file of one cannot be used.
    """

    scan: Scan
    reason: str
    mask: Path | None = None
    mask_reason: str = 'no mask given'
    lesions: tuple[Lesion, ...] = ()
    lesion_problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class BroughtAlong:
    """What is brought into a space beside the scans.

    Attributes
    ----------
    kind
        A key of :data:`bidsreg.preparation.spaces.BRINGING`.
    pair
        The number of the pair that it is of; None: it belongs to the reference scan.
    contrast
        Of the scan on whose grid it is.
    on_reference
        Whether that is the reference scan; else it is the pair's moving one.
    """

    kind: str
    pair: int | None
    contrast: str
    on_reference: bool


@dataclass(frozen=True)
class Normalisation:
    """One reference scan and one template.

    Attributes
    ----------
    reference
        The scan.
    space
        The space, with the grids that are wanted.
    stamp, origin, template
        Of the template: digits that change with its content, words about where it comes from, and its files.
    pairs
        The finished pairs whose fixed image the scan is: their moving scans are brought along.
    ratio
        The kind of ratio that was asked for, or ``none``.
    rated
        The numbers of the pairs that have left one.
    """

    reference: Reference
    space: Space
    stamp: str
    origin: str
    template: tuple[Path, ...]
    pairs: tuple[Pair, ...] = ()
    ratio: str = 'none'
    rated: tuple[int, ...] = ()

    @property
    def carried(self) -> dict[str, BroughtAlong]:
        """What is brought into the space beside the scans, by its key: ratios of the pairs, lesions of each scan."""
        found = {
            f'pair{number}_ratio': BroughtAlong('map', number, 'T1w', self.contrast == 'T1w') for number in self.rated
        }
        if self.reference.lesions:
            found['lesion'] = BroughtAlong('labels', None, self.contrast, True)
        for number, pair in enumerate(self.pairs):
            if pair.moving_lesions:
                found[f'pair{number}_lesion'] = BroughtAlong('labels', number, pair.moving_contrast, False)
        return found

    @property
    def subject(self) -> str:
        """The label of the subject."""
        return self.reference.scan.subject

    @property
    def session(self) -> str | None:
        """The label of the session of the scan, if there are any."""
        return self.reference.scan.session

    @property
    def contrast(self) -> str:
        """``T1w`` or ``T2w``."""
        return self.reference.scan.contrast

    @property
    def entities(self) -> dict[str, str]:
        """The entities of the scan and of the space, which all its figures have (pybids' names)."""
        return {**self.reference.scan.entities, **self.space.entities()}

    @property
    def name(self) -> str:
        """Its name, for example ``sub-01_ses-1_T1w_to-MNI152NLin2009aSym``, unlike any other's and any pair's."""
        scan = self.reference.scan.entities
        labels = [f'{ENTITIES[key]}-{scan[key]}' for key in ENTITIES if key in scan]
        return '_'.join([*labels, self.contrast, f'to-{self.space.label}'])

    @property
    def node_name(self) -> str:
        """Its name as Nipype accepts it for a node; names that differ stay different."""
        mark = f'_{hashlib.sha256(self.name.encode()).hexdigest()[:8]}' if '+' in self.name else ''
        return 'norm_' + re.sub(r'\W', '_', self.name) + mark


# ------------------------------------------------------------------------------------------------------------- the plan
def find_references(plan: Plan, settings: Settings) -> list[Reference]:
    """Choose the scans by which the people of a plan are normalised.

    Every scan to which a pair registers another; in sessions without one, the first T1w; and for people without any
    T1w the first T2w of each session. What a pair registers to a scan of another session is brought along by that one.
    """
    wanted = settings.session_label
    subjects: dict[str, list[Scan]] = {}
    for scan in plan.scans:
        if not wanted or scan.session in wanted or any(pair.fixed == scan.path for pair in plan.pairs):
            subjects.setdefault(scan.subject, []).append(scan)
    found = []
    for scans in subjects.values():
        for scan, reason in _of_subject(scans, plan.pairs):
            everything = [one for one in plan.scans if one.subject == scan.subject]
            mask = find_mask(scan, everything, settings.derivatives, settings.bids_dir)
            ill = find_lesions(scan, everything, settings.derivatives, settings.bids_dir)
            found.append(Reference(scan, reason, mask.path, mask.reason, ill.files, ill.problems))
    return found


def _of_subject(scans: Sequence[Scan], pairs: Sequence[Pair]) -> Iterable[tuple[Scan, str]]:
    fixed, moving = ({getattr(pair, end) for pair in pairs} for end in ('fixed', 'moving'))
    used = [scan for scan in scans if scan.path in fixed]
    for scan in used:
        yield scan, 'a pair has it as its fixed image'
    contrast = next((contrast for contrast in REFERENCES if any(scan.contrast == contrast for scan in scans)), None)
    seen = {scan.session for scan in used}
    for scan in sorted(scans, key=lambda scan: (scan.suffix == 'UNIT1', scan.path.name)):
        if scan.contrast == contrast and scan.session not in seen and scan.path not in moving:
            seen.add(scan.session)
            yield scan, f'the first {contrast} of {"its session" if scan.session else "the subject"}, without a pair'


def pairs_with_ratio(pairs: Sequence[Pair], settings: Settings) -> tuple[int, ...]:
    """Return the numbers of the pairs that have left the ratio that is asked for; where one failed it costs itself."""
    if settings.ratio == 'none':
        return ()
    return tuple(n for n, pair in enumerate(pairs) if pair.has_ratio and why_without_ratio(pair, settings) is None)


def finished_pairs(reference: Reference, plan: Plan, settings: Settings) -> tuple[Pair, ...]:
    """Return the pairs of a plan that are finished and have the reference scan as their fixed image."""
    return tuple(pair for pair in plan.pairs if pair.fixed == reference.scan.path and is_complete(pair, settings))


# --------------------------------------------------------------------------------------------------------------- names
def normalisation_outputs(unit: Normalisation, output_dir: Path) -> dict[str, Path]:
    """Return where everything of a normalisation is (or will be), the QC file (``qc``) last.

    ``forward``, ``inverse`` and ``jacobian``; ``image`` and ``mask`` on each grid (``image_res-2``); for each of the
    pairs ``pair0_forward``, ``pair0_inverse`` and ``pair0_image`` on each grid; what is carried along (``lesion``,
    ``pair0_ratio``) on each grid; and, where there is no pair, the scan (``preproc``) and its mask (``brain``)
    themselves.
    """
    scan, label, contrast = dict(unit.reference.scan.entities), unit.space.label, unit.contrast

    def named(entities: Mapping[str, str], suffix: str, extension: str = '.nii.gz', **more: str) -> Path:
        return output_dir / build_name({**entities, **more, 'suffix': suffix, 'extension': extension})

    to, back = {'from': contrast, 'to': label, 'mode': 'image'}, {'from': label, 'to': contrast, 'mode': 'image'}
    found = {
        'forward': named(scan, 'xfm', '.h5', **to),
        'inverse': named(scan, 'xfm', '.h5', **back),
        'jacobian': named(scan, 'xfm', **to, desc='jacobian'),
    }
    for grid in unit.space.grids:
        where = unit.space.entities(grid)
        found[on_grid('image', grid)] = named(scan, contrast, **where, desc='preproc')
        found[on_grid('mask', grid)] = named(scan, 'mask', **where, desc='brain')
    for number, pair in enumerate(unit.pairs):
        moving = pair.moving_contrast
        entities = dict(pair.entities)
        found[f'pair{number}_forward'] = named(entities, 'xfm', '.h5', **{'from': moving, 'to': label, 'mode': 'image'})
        found[f'pair{number}_inverse'] = named(entities, 'xfm', '.h5', **{'from': label, 'to': moving, 'mode': 'image'})
        for grid in unit.space.grids:
            where = unit.space.entities(grid)
            found[on_grid(f'pair{number}_image', grid)] = named(entities, moving, **where, desc='preproc')
    for key, carried in unit.carried.items():
        entities = scan if carried.pair is None else dict(unit.pairs[carried.pair].entities)
        for grid in unit.space.grids:
            found[on_grid(key, grid)] = named(entities, **_carried_as(carried, unit), **unit.space.entities(grid))
    if not unit.pairs:
        found['preproc'] = named(scan, contrast, desc='preproc')
        own = {'space': space} if (space := mask_space(contrast)) else {}
        found['brain'] = named(scan, 'mask', **own, desc='brain')
    found['qc'] = named({**scan, **unit.space.entities()}, 'qc', '.json', desc='normalisation')
    return found


def _carried_as(carried: BroughtAlong, unit: Normalisation) -> dict[str, str]:
    """Return the entities, suffix among them, that tell what is carried along from all else in the space."""
    if carried.kind == 'map':
        return {'desc': unit.ratio, 'suffix': RATIO.entities['suffix']}
    return {'label': 'lesion', 'desc': carried.contrast, 'suffix': 'mask'}


def stale_outputs(unit: Normalisation, output_dir: Path) -> set[Path]:
    """Return what an earlier run has left of the same scans in the space, and that is no more.

    That is ratios and lesions, and the QC file of a scan that was normalised by itself, and is brought along now.
    """
    found: set[Path] = set()
    where = unit.space.entities()
    owners = [(dict(unit.reference.scan.entities), unit.contrast)]
    owners += [(dict(pair.entities), pair.moving_contrast) for pair in unit.pairs]
    for entities, contrast in owners:
        kinds = [{'label': 'lesion', 'desc': contrast, 'suffix': 'mask'}]
        kinds += [{'desc': kind, 'suffix': RATIO.entities['suffix']} for kind in RATIO_KINDS]
        for kind in kinds:
            found.add(output_dir / build_name({**entities, **where, **kind, 'extension': '.nii.gz'}))
    wanted = normalisation_outputs(replace(unit, space=replace(unit.space, resolutions=())), output_dir)
    gone = [path for path in found if path not in wanted.values()]
    every: set[Path | None] = {
        one for path in gone for one in (path, *path.parent.glob(_with_any_grid(path.name, unit.space)))
    }
    every |= {_qc_alone(unit, pair, output_dir) for pair in unit.pairs}
    return {path for path in every if path is not None and path.is_file()}


def _qc_alone(unit: Normalisation, pair: Pair, output_dir: Path) -> Path | None:
    """Return the QC file of the moving scan of a pair, where it was normalised to the space by itself."""
    scan = Scan(pair.moving, pair.moving_contrast, pair.entities)
    alone = replace(unit, reference=Reference(scan, ''), pairs=(), rated=())
    qc = normalisation_outputs(alone, output_dir)['qc']
    return qc if (read_json(qc) or {}).get('normalisation') == alone.name else None


def _with_any_grid(name: str, space: Space) -> str:
    """Return the pattern of a file's name on the numbered grids of its space."""
    where = f'_space-{space.name}' + ('' if space.cohort is None else f'_cohort-{space.cohort}')
    return name.replace(where, f'{where}_res-*', 1)


def on_grid(key: str, grid: int | None) -> str:
    """Return the key of a product on one of the grids."""
    return key if grid is None else f'{key}_res-{grid}'


def ratios_of(unit: Normalisation, output_dir: Path) -> dict[str, Path]:
    """Return the ratios that the pairs have left and that are brought along, by their keys."""
    pairs = {f'pair{number}_ratio': unit.pairs[number] for number in unit.rated}
    return {key: ratio_path(pair.entities, output_dir, unit.ratio, pair.contrasts) for key, pair in pairs.items()}


# --------------------------------------------------------------------------------------------------------- completeness
def normalisation_fingerprint(unit: Normalisation, settings: Settings) -> str:
    """Return a short hash of what changes results: the settings of the run, the template, and :data:`VERSION`."""
    text = f'{settings.fingerprint()} {unit.stamp} {VERSION}'
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def normalisation_stamps(unit: Normalisation, settings: Settings) -> dict[str, list[int]]:
    """Return size (bytes) and time of change (ns) of what a normalisation is made from, by BIDS URIs."""
    paths = [unit.reference.scan.path, unit.reference.mask, *unit.reference.scan.inversions, *unit.template]
    paths += [path for lesion in unit.reference.lesions for path in (lesion.path, lesion.table)]
    paths += [pair_outputs(pair, settings.output_dir)['forward_xfm'] for pair in unit.pairs]
    paths += ratios_of(unit, settings.output_dir).values()
    stamps = {}
    for path in filter(None, paths):
        with contextlib.suppress(OSError):  # a file that is gone has no stamp, and so differs from any that had one
            state = path.stat()
            stamps[bids_uri(path, settings)] = [state.st_size, state.st_mtime_ns]
    return stamps


def why_not_normalised(unit: Normalisation, settings: Settings) -> str | None:
    """Say why a normalisation is to be done again, for a person to read; ``None`` when it is complete."""
    paths = normalisation_outputs(unit, settings.output_dir)
    marker = read_json(paths['qc'])
    if marker is None:
        return 'not done yet'
    if marker.get('fingerprint') != normalisation_fingerprint(unit, settings):
        return 'it was made with other settings, another template or another version'
    if marker.get('sources') != normalisation_stamps(unit, settings):
        return 'its source files, or the pairs of the scan, have changed'
    for key, path in paths.items():
        if not path.is_file() or path.stat().st_size == 0:
            return f'{path.name} is missing'
        if key != 'qc' and not sidecar(path).is_file():
            return f'{sidecar(path).name} is missing'
    return None
