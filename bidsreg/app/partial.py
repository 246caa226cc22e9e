"""Partial results: the pictures and numbers of what a failed pair had done are kept for its report."""

from __future__ import annotations

import typing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nipype.interfaces.base import isdefined
from nipype.pipeline.engine.utils import load_resultfile

from bidsreg.bids.names import Contrasts, partial_path
from bidsreg.bids.publish import read_qc, scratch_folder
from bidsreg.bids.sidecars import to_json
from bidsreg.qc.facts import compare_masks, mask_volume, matrix_parts, read_result
from bidsreg.registration.atomic import write_text
from bidsreg.reports.pictures import PICTURES, Scene, drawable, picture_path

if typing.TYPE_CHECKING:
    from bidsreg.bids.pairs import Pair
    from bidsreg.settings import Settings

#: Nodes whose outputs are read, each with the nodes that must have ended before it.
_STEPS: dict[str, tuple[str, ...]] = {
    'masking_wf/conform': (),
    'masking_wf/brain_mask': ('masking_wf/conform',),
    'masking_wf/second_mask': ('masking_wf/conform',),
    'masking_wf/n4': ('masking_wf/brain_mask',),
    'prealign_wf/conform': (),
    'prealign_wf/rigid': ('masking_wf/conform', 'prealign_wf/conform'),
    'prealign_wf/moving_mask': ('masking_wf/brain_mask', 'prealign_wf/rigid'),
    'prealign_wf/n4': ('prealign_wf/moving_mask',),
    'prealign_wf/affine': ('masking_wf/n4', 'prealign_wf/n4'),
    'prealign_wf/linear': ('prealign_wf/rigid', 'prealign_wf/affine'),
    'registration_wf/register': ('prealign_wf/linear',),
}
#: Sources of each file of a scene: node and output, the better source first.
_FILES = {
    'fixed': (('masking_wf/n4', 'out_file'), ('masking_wf/conform', 'out_file')),
    'fixed_mask': (('masking_wf/brain_mask', 'out_mask'),),
    'moving': (('prealign_wf/n4', 'out_file'), ('prealign_wf/conform', 'out_file')),
    'moving_mask': (('prealign_wf/moving_mask', 'out_file'),),
    'affine': (('prealign_wf/linear', 'out_matrix'), ('prealign_wf/affine', 'out_matrix')),
    **{name: (('registration_wf/register', name),) for name in ('warped', 'forward', 'jacobian', 'result')},
}
#: Outputs of nodes that go into the facts as they are; the contrasts of the pair stand in the places of its scans.
_FACTS = {
    'mask_method': ('masking_wf/brain_mask', 'method'),
    'second_mask_method': ('masking_wf/second_mask', 'method'),
    'moving_mask_method': ('prealign_wf/moving_mask', 'method'),
    '{fixed}_findings': ('masking_wf/conform', 'findings'),
    '{moving}_findings': ('prealign_wf/conform', 'findings'),
    'prealign_start': ('prealign_wf/rigid', 'start'),
    'linear': ('prealign_wf/linear', 'choice'),
}


def keep_partial(pair: Pair, settings: Settings, folder: Path) -> list[str]:
    """Draw the pictures and note the numbers that a failed pair allows.

    Nothing is touched where the files of an earlier, finished run of the pair are still there.

    Parameters
    ----------
    pair, settings
        The pair, and the settings of the run.
    folder
        The folder of the pair's workflow in the work folder.

    Returns
    -------
    list of str
        The pictures that were drawn.
    """
    if read_qc(pair, settings) is not None:
        return []
    outputs = _outputs(folder)
    files = {name: path for name, sources in _FILES.items() if (path := _first(outputs, sources))}
    scene = Scene(**files, contrasts=pair.contrasts)
    facts = {'pair': pair.name, 'fingerprint': settings.fingerprint(), **_facts(outputs, scene)}
    path = partial_path(pair.name, settings.output_dir)
    with scratch_folder(settings.output_dir, path.name) as scratch:
        write_text(path, to_json(facts), scratch=scratch, durable=True)
    drawn = drawable(scene)
    for name in PICTURES:
        path = picture_path(pair, settings.output_dir, name)
        path.unlink(missing_ok=True)  # of an attempt before this one
        if name in drawn:
            path.parent.mkdir(parents=True, exist_ok=True)
            PICTURES[name].draw(scene, path)
    return drawn


def _outputs(folder: Path) -> dict[str, Any]:
    """Return the outputs of the nodes that ended well in the latest attempt.

    A node whose results are older than those of one that comes before it is left over from another attempt.
    """
    found: dict[str, Any] = {}
    times: dict[str, int] = {}
    for step, before in _STEPS.items():
        path = folder / step / f'result_{Path(step).name}.pklz'
        if not path.is_file() or not found.keys() >= set(before):
            continue
        outputs, time = load_resultfile(str(path)).outputs, path.stat().st_mtime_ns
        if outputs is not None and all(times[one] <= time for one in before):
            found[step], times[step] = outputs, time
    return found


def _value(outputs: dict[str, Any], step: str, name: str) -> Any:
    value = getattr(outputs.get(step), name, None)
    return value if isdefined(value) else None


def _first(outputs: dict[str, Any], sources: typing.Iterable[tuple[str, str]]) -> Path | None:
    paths = (_value(outputs, *source) for source in sources)
    return next((Path(path) for path in paths if path and Path(path).is_file()), None)


def _facts(outputs: dict[str, Any], scene: Scene) -> dict[str, Any]:
    contrasts = Contrasts(scene.contrasts.fixed.lower(), scene.contrasts.moving.lower())
    facts = {contrasts.fill(name): _value(outputs, *source) for name, source in _FACTS.items()}
    facts['contrasts'] = asdict(scene.contrasts) if scene.contrasts.told else None
    masks = {f'{contrasts.fixed}_ml': scene.fixed_mask, f'{contrasts.moving}_ml': scene.moving_mask}
    facts['masks'] = {name: mask_volume(path) for name, path in masks.items() if path} or None
    second = _value(outputs, 'masking_wf/second_mask', 'out_mask')
    if second and scene.fixed_mask:
        facts['mask_evidence'] = compare_masks(scene.fixed_mask, second)
    matrices = {'rigid': _value(outputs, 'prealign_wf/rigid', 'out_matrix'), 'affine': scene.affine}
    for name, path in matrices.items():
        if path and scene.fixed_mask:
            facts[name] = matrix_parts(path, scene.fixed_mask)
    if scene.result:
        facts['result'] = read_result(scene.result)
    seconds: dict[str, dict[str, float]] = {}
    for step in outputs:
        if (took := _value(outputs, step, 'seconds')) is not None:
            room, _, node = step.partition('_wf/')
            seconds.setdefault(room, {})[node] = took
    facts['seconds_per_step'] = seconds or None
    return {name: value for name, value in facts.items() if value is not None}
