"""Pictures that a page lacks are drawn again from what lies in the derivatives, and the moving scan if it is there."""

from __future__ import annotations

import logging
import typing
from pathlib import Path
from typing import Any

from bidsreg.bids.headers import check_header
from bidsreg.bids.names import PRODUCTS, RATIO_KINDS, lesion_path, output_name, ratio_path, sidecar
from bidsreg.bids.sidecars import dataset_links, read_json
from bidsreg.reports.pictures import PICTURES, Scene, drawable, picture_path
from bidsreg.reports.record import PairRecord

if typing.TYPE_CHECKING:
    from bidsreg.settings import Settings

LOGGER = logging.getLogger('bidsreg')


def redraw(record: PairRecord, settings: Settings) -> dict[str, str]:
    """Draw the pictures of a pair that are missing and can be drawn.

    Parameters
    ----------
    record : PairRecord
        The pair. Of one that failed and has no picture of its scans they are drawn as they came.
    settings : Settings
        The run, for the folders of its datasets.

    Returns
    -------
    dict of str to str
        The reason why a picture is not there, by its name.
    """
    paths = {name: picture_path(record, settings.output_dir, name) for name in PICTURES}
    missing = [name for name, path in paths.items() if not path.is_file() and expected(record, name)]
    if not missing:
        return {}
    if record.complete:
        scene, reasons = scene_of_derivatives(record, settings), {}
        possible = drawable(scene)
        for name in missing:
            lacks = [field for field in PICTURES[name].needs if getattr(scene, field) is None]
            if lacks:
                reasons[name] = f'it was lost, and cannot be drawn again without: {", ".join(lacks)}'
    elif record.failed and record.pair is not None and paths['before'] in map(paths.get, missing):
        scene = Scene(fixed=record.pair.fixed, moving=record.pair.moving, contrasts=record.contrasts)
        unplaced = [path.name for path in (record.pair.fixed, record.pair.moving) if _is_unplaced(path)]
        reasons = {'before': f'where the voxels of {unplaced[0]} lie is not known'} if unplaced else {}
        possible = [] if unplaced else ['before']
    else:
        return {}
    for name in (name for name in missing if name in possible):
        try:
            paths[name].parent.mkdir(parents=True, exist_ok=True)
            PICTURES[name].draw(scene, paths[name])
        except Exception as error:  # of a broken file; the page must come out all the same
            LOGGER.warning('%s: the picture %s could not be drawn: %s', record.name, name, error)
            reasons[name] = f'it could not be drawn: {type(error).__name__}: {error}'
    return reasons


def _is_unplaced(path: Path) -> bool:
    """Tell whether a header that can be read does not say where the head lies: left and right would be made up."""
    report = check_header(path)
    return report.affine is None and len(report.shape) == 3


def expected(record: PairRecord, name: str) -> bool:
    """Tell whether a pair has what a picture shows."""
    tells_of = PICTURES[name].tells_of
    return not tells_of or tells_of in record.qc


def scene_of_derivatives(record: PairRecord, settings: Settings) -> Scene:
    """Find the files of a finished pair; its moving scan, where that is not among them, in the dataset it came from."""
    out = settings.output_dir
    ours = {
        key: out / output_name(key, record.entities, record.contrasts)
        for key, product in PRODUCTS.items()
        if product.of == 'moving'
    }
    found: dict[str, Path | None] = {
        'moving_mask': ours['moving_mask'],
        'affine': ours['affine_xfm'],
        'warped': ours['moving_in_fixed'],
        'forward': ours['forward_xfm'],
        'jacobian': ours['jacobian'],
        'result': ours['qc'],
    }
    # the fixed scan may have other entities than the moving one: what the transform was made from is said beside it
    names = ('fixed', 'fixed_mask', 'moving')
    uris = (read_json(sidecar(ours['forward_xfm'])) or {}).get('Sources')
    if isinstance(uris, list):
        found.update(zip(names, (_find(uri, settings) for uri in uris), strict=False))
    else:
        LOGGER.debug('%s: what the transform was made from is not known', record.name)
    kind = (record.qc.get('ratio') or {}).get('kind')
    if kind in RATIO_KINDS:
        found['ratio'] = ratio_path(record.entities, out, kind, record.contrasts)
    for end in ('fixed', 'moving'):
        found[f'{end}_lesion'] = lesion_path(record.entities, out, end, record.contrasts)
    if ours['moving_preproc'].is_file():
        found['moving'] = ours['moving_preproc']
    there = {name: path for name, path in found.items() if path is not None and path.is_file()}
    return Scene(**there, contrasts=record.contrasts)


def _find(uri: Any, settings: Settings) -> Path | None:
    """Return the file of a BIDS URI; None for one of a dataset that is not known, or outside of it."""
    if not isinstance(uri, str) or '..' in Path(uri).parts:
        return None
    name, _, path = uri.removeprefix('bids:').partition(':')
    folder = {'': settings.output_dir, **dataset_links(settings)}.get(name)
    return None if folder is None else folder / path.lstrip('/')
