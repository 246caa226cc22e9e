"""The output folder as a BIDS derivative dataset: its description, README, ``.bidsignore`` and shared log files."""

from __future__ import annotations

import os
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bidsreg import __version__
from bidsreg.bids.locks import lock_dataset
from bidsreg.bids.names import DESCRIPTIONS, PRIVATE, RATIO_KINDS, Contrasts, lesion_path, output_name, ratio_path
from bidsreg.bids.publish import clear_left_behind, scratch_folder
from bidsreg.bids.sidecars import dataset_links, read_json, to_json
from bidsreg.errors import InputError
from bidsreg.registration.atomic import write_text
from bidsreg.tables import to_tsv

if typing.TYPE_CHECKING:
    from bidsreg.settings import Settings

#: The version of BIDS that the output follows.
BIDS_VERSION = '1.11.1'

#: Where this version of the program is kept; said of every dataset.
CODE_URL = f'https://pypi.org/project/bidsreg/{__version__}/'

#: What the description takes over from that of the raw dataset: whose data they are, and what may be done with them.
FROM_RAW = {'Authors': list, 'License': str}

#: Patterns that the BIDS validator passes over (transforms, QC and reports have no place in the standard yet).
BIDSIGNORE = ('*.html', 'logs', 'figures', '*_xfm.*', '*_qc.*', '*_T1wT2wratio.*', 'group_*', PRIVATE)


def write_dataset_files(settings: Settings, logs: Mapping[str, str]) -> None:
    """Make the output folder a BIDS derivative dataset: description, ``.bidsignore``, README, and shared log files.

    A README that is there stays; lines of others in ``.bidsignore`` stay too.

    Parameters
    ----------
    settings
        The run, for the folders of its datasets.
    logs
        Texts for the folder ``logs`` by their file names, for example what to cite.

    """
    out = settings.output_dir
    clear_left_behind(out)
    with lock_dataset(out), scratch_folder(out, 'dataset') as scratch:
        for path, text in _dataset_files(settings, logs).items():
            write_text(path, text, scratch=scratch, durable=True)


def _dataset_files(settings: Settings, logs: Mapping[str, str]) -> dict[Path, str]:
    out = settings.output_dir
    texts = {
        out / 'dataset_description.json': to_json(_description(settings)),
        out / 'descriptions.tsv': _descriptions(),
        out / 'descriptions.json': to_json(_ABOUT_DESCRIPTIONS),
        out / '.bidsignore': '\n'.join(_ignored(settings)) + '\n',
        **{out / 'logs' / name: text for name, text in logs.items()},
    }
    if not (out / 'README').exists() and not (out / 'README.md').exists():
        texts[out / 'README'] = _readme(settings)
    return texts


def _description(settings: Settings) -> dict[str, Any]:
    """Describe the dataset; links of runs before this one stay."""
    out = settings.output_dir
    raw = read_json(settings.bids_dir / 'dataset_description.json') or {}
    links = {name: _link(folder, out) for name, folder in dataset_links(settings).items()}
    old = (read_json(out / 'dataset_description.json') or {}).get('DatasetLinks')
    return {
        'Name': f'bidsreg: {"/".join(settings.contrasts)} registration of {_dataset_name(settings)}',
        'BIDSVersion': BIDS_VERSION,
        'DatasetType': 'derivative',
        'GeneratedBy': [_generated_by()],
        'DatasetLinks': {**(old if isinstance(old, dict) else {}), **links},
        'SourceDatasets': [{'URL': links['raw']}],
        **{key: raw[key] for key, kind in FROM_RAW.items() if raw.get(key) and isinstance(raw[key], kind)},
        'HowToAcknowledge': 'Please cite the works that logs/CITATION.md names.',
    }


def _readme(settings: Settings) -> str:
    """Return the README: it lists the files of one pair, and says which names those of other contrasts have."""
    first, *others = (Contrasts(settings.contrasts[0], moving) for moving in settings.contrasts[1:])
    title = f'bidsreg: {"/".join(settings.contrasts)} registration'
    entities = {'subject': '01'}
    names = {key: output_name(key, entities, first) for key in _ABOUT_FILES}
    listed = [f'  {names[key].name:<41}  {first.fill(words)}' for key, words in _ABOUT_FILES.items()]
    more = [
        f'The files of a {other.moving} have that in the place of {first.moving}; its numbers are in '
        f'{output_name("qc", entities, other).name}.\n'
        for other in others
    ]
    more.append(_only_where(entities, first))
    values = {key: path.name for key, path in names.items()} | {'moving': first.moving, 'fixed': first.fixed}
    head = f'{title}\n{"=" * len(title)}\n\n{_README_BEFORE}' + '\n'.join(listed)
    return '\n'.join([head + _README_AFTER.format(**values), *more])


def _only_where(entities: Mapping[str, str], contrasts: Contrasts) -> str:
    """Say which files there are for some pairs and runs only."""
    lesions = lesion_path(entities, '', 'moving', contrasts).name
    ratio = ' or '.join(ratio_path(entities, '', kind, contrasts).name for kind in RATIO_KINDS)
    return (
        'Only where lesions were drawn, or where a run was asked for it:\n\n'
        f'  {lesions}: lesions of a scan that were left out, on its own grid\n'
        f'  {ratio}: the ratio of T1w and T2w (--ratio)\n'
        '  names with a template in the place of a scan (from-T1w_to-MNI152NLin2009aSym, space-MNI152NLin2009aSym):\n'
        '  scans, masks and transforms in that space (--output-spaces); numbers in *_desc-normalisation_qc.json\n'
    )


def _descriptions() -> str:
    """Return the table of what each value of ``desc`` means."""
    rows = [('desc_id', 'description'), *((f'desc-{label}', text) for label, text in DESCRIPTIONS.items())]
    return to_tsv(rows)


def _ignored(settings: Settings) -> list[str]:
    """Return the lines of ``.bidsignore``: those that are there, then ours."""
    out = settings.output_dir
    ignore = out / '.bidsignore'
    try:
        lines = ignore.read_text(encoding='utf-8').splitlines() if ignore.is_file() else []
    except ValueError as error:
        raise InputError(f'{ignore} cannot be read: {error}') from error
    ours = [*BIDSIGNORE]
    if settings.work_dir.is_relative_to(out):
        ours.append(settings.work_dir.relative_to(out).parts[0])
    return lines + [line for line in ours if line not in lines]


def _dataset_name(settings: Settings) -> str:
    name = (read_json(settings.bids_dir / 'dataset_description.json') or {}).get('Name')
    return name if name and isinstance(name, str) else settings.bids_dir.name


def _generated_by() -> dict[str, Any]:
    """Say what made the dataset, and in which container, which says so in its environment."""
    made: dict[str, Any] = {'Name': 'bidsreg', 'Version': __version__, 'CodeURL': CODE_URL}
    if tag := os.environ.get('BIDSREG_CONTAINER'):
        made['Container'] = {'Type': 'singularity' if _in_singularity() else 'docker', 'Tag': tag}
    return made


def _in_singularity() -> bool:
    return any(name in os.environ for name in ('SINGULARITY_CONTAINER', 'APPTAINER_CONTAINER'))


def _link(folder: Path, output_dir: Path) -> str:
    """Name a dataset relative to ours when both move together, else absolutely.

    They do when ours lies inside it, and in a study: ours in its ``derivatives``, the other there or in ``sourcedata``
    or ``rawdata``.
    """
    together = output_dir.is_relative_to(folder)
    for study in output_dir.parents:
        places = [study / 'derivatives', study / 'sourcedata', study / 'rawdata']
        inside = any(folder.is_relative_to(place) for place in places)
        together = together or (output_dir.is_relative_to(places[0]) and inside)
    return Path(os.path.relpath(folder, output_dir)).as_posix() if together else folder.as_uri()


def check_output_dataset(output_dir: Path) -> None:
    """Refuse an output folder that is somebody else's dataset.

    Raises
    ------
    InputError
        When its description says that it is raw data, or the derivatives of another program.

    """
    description = read_json(output_dir / 'dataset_description.json')
    if description is None:
        return
    if description.get('DatasetType', 'raw') == 'raw' and 'GeneratedBy' not in description:
        raise InputError(f'{output_dir} is a raw BIDS dataset: give another folder for the output.')
    generated = description.get('GeneratedBy')
    makers = [str(item.get('Name')) for item in _dicts(generated)]
    if makers and 'bidsreg' not in makers:
        raise InputError(
            f'{output_dir} holds the derivatives of {", ".join(makers)}: give another folder, for example '
            f'{output_dir / "bidsreg"}.'
        )


def _dicts(value: Any) -> list[dict]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


_ABOUT_DESCRIPTIONS = {
    'Description': 'What each value of the entity desc means in the names of these files',
    'desc_id': {'Description': 'The entity as it stands in names'},
    'description': {'Description': 'What it means'},
}

#: What each file of a pair is, in the order of the README.
_ABOUT_FILES = {
    'fixed_preproc': 'the {fixed} as it was used',
    'fixed_mask': 'its brain mask',
    'moving_mask': 'the same on the grid of the {moving}',
    'moving_in_fixed': 'the {moving} on the grid of the {fixed}',
    'fixed_in_moving': 'the {fixed} on the grid of the {moving}',
    'moving_preproc': 'the {moving} as it was used, on its own grid',
    'jacobian': 'Jacobian determinant of the deformation',
    'forward_xfm': 'brings {moving} data onto the grid of the {fixed} (ITK composite transform)',
    'inverse_xfm': 'brings {fixed} data onto the grid of the {moving}',
    'affine_xfm': 'the affine part alone',
    'qc': 'numbers that judge the registration',
}

_README_BEFORE = """\
For every pair of scans (sub-01 here; ses-, acq-, run- and so on are kept where the scans have them):

sub-01/anat/
"""

_README_AFTER = """
sub-01.html                                  the report: start here
logs/                                        what was run, what was paired and why, what to cite

To bring any image that lies with the {moving} onto the grid of the {fixed}:

  antsApplyTransforms -i IMAGE -r {fixed_preproc} \\
      -t {forward_xfm} -o OUT.nii.gz

Points go the other way, as always with ITK: use from-{fixed}_to-{moving} for points of the {moving} that are \
wanted in the {fixed}.
"""
