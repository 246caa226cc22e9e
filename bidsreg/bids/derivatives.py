"""Names, sidecars and the safe writing of what a pair leaves behind: one table serves writing and finding."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import platform
import shutil
import time
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bidsreg import __version__
from bidsreg.errors import InputError
from bidsreg.reports.citation import methods_text

if typing.TYPE_CHECKING:
    from bidsreg.bids.pairs import Pair
    from bidsreg.settings import Settings

LOGGER = logging.getLogger('bidsreg')

BIDS_VERSION = '1.10.0'
#: Our own corner of the output folder: locks, and files that are still being written.
PRIVATE = '.bidsreg'

#: Entities a scan may carry, in the order of BIDS: pybids' name and what is written.
ENTITIES = {
    'subject': 'sub',
    'session': 'ses',
    'sample': 'sample',
    'task': 'task',
    'acquisition': 'acq',
    'ceagent': 'ce',
    'reconstruction': 'rec',
    'direction': 'dir',
    'run': 'run',
    'modality': 'mod',
    'echo': 'echo',
    'flip': 'flip',
    'inv': 'inv',
    'mt': 'mt',
    'part': 'part',
    'proc': 'proc',
    'chunk': 'chunk',
}

_STEM = 'sub-{subject}' + ''.join(f'[_{ENTITIES[key]}-{{{key}}}]' for key in list(ENTITIES)[1:])
#: The one pattern of every file of a pair, as pybids' ``build_path`` reads it.
PATTERN = (
    'sub-{subject}[/ses-{session}]/anat/'
    + _STEM
    + '[_space-{space}][_from-{from}][_to-{to}][_mode-{mode}][_desc-{desc}]_{suffix}{extension}'
)
FIGURE_PATTERN = 'sub-{subject}/figures/' + _STEM + '_desc-{desc}_{suffix}{extension}'


@dataclass(frozen=True)
class Product:
    """One kind of file: whose entities it keeps (``T1w`` or ``T2w``), and the entities it adds."""

    of: str
    entities: Mapping[str, str]


def _product(of: str, suffix: str, extension: str = '.nii.gz', **entities: str) -> Product:
    return Product(of, {**entities, 'suffix': suffix, 'extension': extension})


_TO_T1W = {'from': 'T2w', 'to': 'T1w', 'mode': 'image'}
_TO_T2W = {'from': 'T1w', 'to': 'T2w', 'mode': 'image'}

#: Everything a pair leaves in its anat folder (the sidecars beside them have the same names with ``.json``).
PRODUCTS: dict[str, Product] = {
    't1w_preproc': _product('T1w', 'T1w', desc='preproc'),
    't1w_mask': _product('T1w', 'mask', desc='brain'),
    't2w_mask': _product('T2w', 'mask', space='T2w', desc='brain'),
    't2w_in_t1w': _product('T2w', 'T2w', space='T1w', desc='preproc'),
    't1w_in_t2w': _product('T2w', 'T1w', space='T2w', desc='preproc'),
    'jacobian': _product('T2w', 'T2w', space='T1w', desc='jacobian'),
    'forward_xfm': _product('T2w', 'xfm', '.h5', **_TO_T1W),
    'inverse_xfm': _product('T2w', 'xfm', '.h5', **_TO_T2W),
    'affine_xfm': _product('T2w', 'xfm', '.txt', **_TO_T1W, desc='affine'),
    'qc': _product('T2w', 'qc', '.json', desc='registration'),
}

#: What the BIDS validator is told to pass over (transforms, QC and reports have no place in the standard yet).
BIDSIGNORE = ('*.html', 'logs', 'figures', '*_xfm.*', '*_qc.*', 'group_*', PRIVATE)

_OLD_SECONDS = 24 * 3600

PACKAGES = ('bidsreg', 'antspyx', 'deepbet', 'nibabel', 'nipype', 'numpy', 'torch', 'torchdiffeq')


def output_name(key: str, entities: Mapping[str, str]) -> Path:
    """Return the path, relative to the output folder, of one product.

    Parameters
    ----------
    key
        A key of :data:`PRODUCTS`.
    entities
        The entities of the scan it keeps (pybids' names).

    """
    return _build({**entities, **PRODUCTS[key].entities}, PATTERN)


def _build(entities: Mapping[str, str], pattern: str) -> Path:
    from bids.layout.writing import build_path

    return Path(build_path(dict(entities), [pattern], strict=False))


def pair_outputs(pair: Pair, output_dir: str | os.PathLike) -> dict[str, Path]:
    """Return where every product of a pair is (or will be): the keys of :data:`PRODUCTS`."""
    sources = {'T1w': pair.fixed_entities, 'T2w': pair.entities}
    return {key: Path(output_dir) / output_name(key, sources[product.of]) for key, product in PRODUCTS.items()}


def figure_path(pair: Pair, output_dir: str | os.PathLike, desc: str, suffix: str = 'T2w', ext: str = '.svg') -> Path:
    """Return where a figure of a pair is: flat in ``sub-*/figures``, named by the T2w's entities."""
    entities = {**pair.entities, 'desc': desc, 'suffix': suffix, 'extension': ext}
    return Path(output_dir) / _build(entities, FIGURE_PATTERN)


def sidecar(path: Path) -> Path:
    """Return the JSON file that describes this one."""
    return path.with_name(path.name.partition('.')[0] + '.json')


def publish(
    files: Mapping[str, Path],
    pair: Pair,
    settings: Settings,
    facts: Mapping[str, Any],
    figures: Mapping[Path, Path] | None = None,
) -> None:
    """Put the finished files of a pair in their places: whole, or not at all.

    Each file is copied beside the others in a private folder of the same file system, brought to disk, and renamed.
    The QC file is the last: where it is, the pair is complete.

    Parameters
    ----------
    files
        A file for each key of :data:`PRODUCTS`, except ``qc``.
    pair, settings
        What was done.
    facts
        Goes into the QC file as it is. The sidecars take from it, where there: ``mask_method`` (of the T1w),
        ``t1w_skull_stripped``, ``t2w_skull_stripped`` and ``result`` (what ``bidsreg-pair`` says of itself).
    figures
        ``{where it is to be: where it is now}``, see :func:`figure_path`.

    Raises
    ------
    OSError
        When the disk is full or the folder cannot be written. What was complete before is then not complete any more.

    """
    goals = pair_outputs(pair, settings.output_dir)
    missing = sorted(set(PRODUCTS) - {'qc'} - set(files))
    if missing:
        raise ValueError(f'{pair.name}: nothing to publish as {", ".join(missing)}')
    goals['qc'].unlink(missing_ok=True)  # until the new one is there, the pair is not complete
    writer = _Writer(settings.output_dir, pair.name)
    for key, text in sidecars(pair, settings, facts).items():
        writer.text(_json(text), sidecar(goals[key]))
    for key, path in files.items():
        if key != 'qc':
            writer.copy(Path(path), goals[key])
    for goal, path in (figures or {}).items():
        writer.copy(Path(path), goal)
    marker = {
        'pair': pair.name,
        'fingerprint': settings.fingerprint(),
        'sources': source_stamps(pair, settings),
        **facts,
    }
    writer.text(_json(marker), goals['qc'])
    writer.close()


class _Writer:
    """Writes files under a private name on the same file system and renames them into place."""

    def __init__(self, output_dir: Path, name: str) -> None:
        # many machines may write into one folder, and their processes may have the same number
        self.folder = Path(output_dir) / PRIVATE / 'tmp' / f'{name}.{platform.node()}.{os.getpid()}'
        self.folder.mkdir(parents=True, exist_ok=True)

    def copy(self, source: Path, goal: Path) -> None:
        def fill(stream: typing.BinaryIO) -> None:
            with source.open('rb') as data:
                shutil.copyfileobj(data, stream, 1 << 20)

        self._write(fill, goal)

    def text(self, text: str, goal: Path) -> None:
        self._write(lambda stream: stream.write(text.encode()), goal)

    def _write(self, fill: typing.Callable[[typing.BinaryIO], Any], goal: Path) -> None:
        unfinished = self.folder / goal.name
        try:
            goal.parent.mkdir(parents=True, exist_ok=True)
            with unfinished.open('wb') as stream:
                fill(stream)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(unfinished, goal)
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def write_text(text: str, path: Path, output_dir: Path) -> None:
    """Write a text file of the output folder whole or not at all."""
    writer = _Writer(output_dir, path.name)
    writer.text(text, path)
    writer.close()


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, default=_plain) + '\n'


def _plain(value: Any) -> Any:
    """Give json what it does not know: paths, numpy's numbers and arrays."""
    return value.tolist() if hasattr(value, 'tolist') else str(value)


def is_complete(pair: Pair, settings: Settings) -> bool:
    """Tell whether a pair was finished with these settings, from these very files."""
    return why_incomplete(pair, settings) is None


def why_incomplete(pair: Pair, settings: Settings) -> str | None:
    """Say what of a pair is to be done again and why; ``None`` when it is complete."""
    paths = pair_outputs(pair, settings.output_dir)
    marker = _read_json(paths['qc'])
    if marker is None:
        return 'not done yet'
    if marker.get('fingerprint') != settings.fingerprint():
        return 'it was made with other settings or another version'
    if marker.get('sources') != source_stamps(pair, settings):
        return 'its source files have changed'
    for key, path in paths.items():
        if not path.is_file() or path.stat().st_size == 0:
            return f'{path.name} is missing'
        if key != 'qc' and not sidecar(path).is_file():
            return f'{sidecar(path).name} is missing'
    for key in ('t1w_preproc', 't1w_mask'):  # another T2w of this T1w may have rewritten them since
        if (_read_json(sidecar(paths[key])) or {}).get('Fingerprint') != settings.fingerprint():
            return f'{paths[key].name} was rewritten with other settings'
    return None


def read_qc(pair: Pair, settings: Settings) -> dict[str, Any] | None:
    """Read the QC file of a pair; ``None`` when there is none."""
    return _read_json(pair_outputs(pair, settings.output_dir)['qc'])


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def source_stamps(pair: Pair, settings: Settings) -> dict[str, list[int]]:
    """Return size and time of change of what a pair is made from, under the names it has in the dataset."""
    stamps = {}
    for path in filter(None, (pair.t1w, pair.t2w, pair.fixed_mask)):
        with contextlib.suppress(OSError):  # a file that is gone has no stamp, and so differs from any that had one
            state = path.stat()
            stamps[bids_uri(path, settings)] = [state.st_size, state.st_mtime_ns]
    return stamps


def dataset_links(settings: Settings) -> dict[str, Path]:
    """Return the datasets that our BIDS URIs name: ``raw``, and one for each of ``--derivatives``."""
    links = {'raw': settings.bids_dir}
    for folder in settings.derivatives:
        name = ''.join(c for c in folder.name if c.isalnum() or c in '-_') or 'derivatives'
        while name in links:
            name += 'x'
        links[name] = folder
    return links


def bids_uri(path: Path, settings: Settings) -> str:
    """Name a file as a BIDS URI of its dataset; a file of no known dataset keeps its path."""
    if path.is_relative_to(settings.output_dir):
        return f'bids::{path.relative_to(settings.output_dir).as_posix()}'
    inside = [(name, folder) for name, folder in dataset_links(settings).items() if path.is_relative_to(folder)]
    if not inside:
        return path.as_uri()
    name, folder = max(inside, key=lambda item: len(item[1].parts))  # derivatives may lie inside the raw dataset
    return f'bids:{name}:{path.relative_to(folder).as_posix()}'


def software_versions() -> dict[str, str]:
    """Return the versions of what takes part, without importing any of it."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def sidecars(pair: Pair, settings: Settings, facts: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Describe every product of a pair, except its QC file, in the words of BIDS."""
    goals = pair_outputs(pair, settings.output_dir)
    ours = {key: bids_uri(path, settings) for key, path in goals.items()}
    raw_t1w, raw_t2w = bids_uri(pair.t1w, settings), bids_uri(pair.t2w, settings)
    mask = bids_uri(pair.fixed_mask, settings) if pair.fixed_mask else None
    stripped = {name: bool(facts.get(f'{name}_skull_stripped', False)) for name in ('t1w', 't2w')}
    in_t1w = {'SpatialReference': ours['t1w_preproc'], 'SkullStripped': stripped['t2w']}
    in_t2w = {'SpatialReference': raw_t2w}
    bias = 'corrected for the bias field (N4)' if settings.bias_correction == 'n4' else 'bias field not corrected'
    result = facts.get('result') or {}
    how = {
        'Method': result.get('method', settings.method),
        'Settings': result.get('settings')
        or {'working_resolution': settings.working_resolution, 'sloppy': settings.sloppy},
        'RandomSeed': settings.random_seed,
    }
    registered = [ours['t1w_preproc'], ours['t1w_mask'], raw_t2w, ours['t2w_mask']]
    forward = {
        'From': raw_t2w,
        'To': ours['t1w_preproc'],
        'Convention': 'ITK, LPS+ mm: apply to the native T2w with the T1w as reference (antsApplyTransforms -t)',
        **how,
    }
    inverse = {
        'From': ours['t1w_preproc'],
        'To': raw_t2w,
        'Convention': 'ITK, LPS+ mm: apply to the T1w with the native T2w as reference (antsApplyTransforms -t)',
        **how,
    }
    texts: dict[str, dict[str, Any]] = {
        't1w_preproc': {
            'Description': f'The T1w as it was used: header made sane, {bias}; no voxel was interpolated',
            'Sources': [raw_t1w],
            'SkullStripped': stripped['t1w'],
        },
        't1w_mask': {
            'Description': 'Brain mask of the T1w',
            'Type': 'Brain',
            'Sources': [mask or raw_t1w],
            'Method': facts.get('mask_method') or pair.fixed_mask_reason,
        },
        't2w_mask': {
            'Description': 'Brain mask of the T1w brought onto the grid of the T2w by the rigid alignment',
            'Type': 'Brain',
            'Sources': [ours['t1w_mask'], raw_t2w],
            **in_t2w,
        },
        't2w_in_t1w': {
            'Description': f'The T2w on the grid of the T1w, {bias}; interpolated once, from its native grid',
            'Sources': [raw_t2w, ours['forward_xfm']],
            **in_t1w,
            **how,
        },
        't1w_in_t2w': {
            'Description': f'The T1w on the grid of the T2w, {bias}; interpolated once, from its native grid',
            'Sources': [ours['t1w_preproc'], ours['inverse_xfm']],
            **in_t2w,
            'SkullStripped': stripped['t1w'],
            **how,
        },
        'jacobian': {
            'Description': 'Jacobian determinant of the deformation from T1w to T2w space, without the affine; '
            'above 1 where the T2w is larger',
            'Sources': [ours['forward_xfm']],
            **in_t1w,
            **how,
        },
        'forward_xfm': {
            'Description': 'Brings T2w data onto the grid of the T1w: affine and displacement field',
            'Sources': registered,
            **forward,
        },
        'inverse_xfm': {
            'Description': 'Brings T1w data onto the grid of the T2w: inverse displacement field and affine',
            'Sources': registered,
            **inverse,
        },
        'affine_xfm': {
            'Description': 'The affine part alone of the transform that brings T2w data onto the grid of the T1w',
            'Sources': registered,
            **forward,
            'Method': 'ANTs, mutual information: rigid, then affine',
        },
    }
    versions = ', '.join(f'{name} {number}' for name, number in software_versions().items())  # BIDS wants a string
    common = {'Fingerprint': settings.fingerprint(), 'SoftwareVersions': versions}
    return {key: {**text, **common} for key, text in texts.items()}


def write_dataset_files(settings: Settings) -> None:
    """Make the output folder a BIDS derivative dataset: description, ``.bidsignore``, README, citations, dictionary.

    A README that is there stays; lines of others in ``.bidsignore`` stay too.
    """
    _clear_old(settings.output_dir)
    with lock_dataset(settings.output_dir):
        _write_dataset_files(settings)


def _write_dataset_files(settings: Settings) -> None:
    out = settings.output_dir
    links = {name: _link(folder, out) for name, folder in dataset_links(settings).items()}
    old = _read_json(out / 'dataset_description.json') or {}
    description = {
        'Name': f'bidsreg: T1w/T2w registration of {_dataset_name(settings)}',
        'BIDSVersion': BIDS_VERSION,
        'DatasetType': 'derivative',
        'GeneratedBy': [{'Name': 'bidsreg', 'Version': __version__}],
        'DatasetLinks': {**old.get('DatasetLinks', {}), **links},
        'SourceDatasets': [{'URL': links['raw']}],
        'HowToAcknowledge': 'Please cite the works that logs/CITATION.md names.',
    }
    ignore = out / '.bidsignore'
    lines = ignore.read_text(encoding='utf-8').splitlines() if ignore.is_file() else []
    ours = [*BIDSIGNORE]
    if settings.work_dir.is_relative_to(out):
        ours.append(settings.work_dir.relative_to(out).parts[0])
    lines += [line for line in ours if line not in lines]
    write_text(_json(description), out / 'dataset_description.json', out)
    write_text('\n'.join(lines) + '\n', ignore, out)
    write_text(methods_text(settings), out / 'logs' / 'CITATION.md', out)
    dictionary = resources.files('bidsreg.qc').joinpath('dictionary.json').read_text(encoding='utf-8')
    write_text(dictionary, out / 'logs' / 'qc_dictionary.json', out)
    if not (out / 'README').exists() and not (out / 'README.md').exists():
        write_text(_README, out / 'README', out)


def _dataset_name(settings: Settings) -> str:
    name = (_read_json(settings.bids_dir / 'dataset_description.json') or {}).get('Name')
    return str(name or settings.bids_dir.name)


def _link(folder: Path, output_dir: Path) -> str:
    """Name a dataset relative to ours when ours lies inside it (both then move together), else absolutely."""
    if output_dir.is_relative_to(folder):
        return Path(os.path.relpath(folder, output_dir)).as_posix()
    return folder.as_uri()


@contextlib.contextmanager
def lock_dataset(output_dir: Path) -> typing.Iterator[None]:
    """Wait until no other run is at the files that all share (description, table of pairs), and keep others off."""
    path = output_dir / PRIVATE / 'locks' / 'dataset.lock'
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('a') as stream:
        with contextlib.suppress(OSError):  # a file system without locks: lock_pair says so
            fcntl.lockf(stream, fcntl.LOCK_EX)
        yield


class PairLock:
    """Keeps other runs off a pair for as long as this process lives or until :meth:`release`."""

    def __init__(self) -> None:
        self._streams: list[typing.IO] = []

    def take(self, path: Path) -> bool:
        """Lock one file; False when another process has it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._streams.append(path.open('a'))
        try:
            fcntl.lockf(self._streams[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return False
        except OSError as error:
            LOGGER.warning('No locks on this file system (%s): do not start two runs on %s.', error, path.parent)
        return True

    def release(self) -> None:
        """Let others have the pair."""
        for stream in self._streams:
            stream.close()

    def __enter__(self) -> PairLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def lock_pair(pair: Pair, settings: Settings) -> PairLock | None:
    """Take a pair for this run, in the output and in the work folder.

    The lock is the kernel's and of this process alone (children of it do not hold it), so it is free as soon as
    this process ends, however it ends.

    Returns
    -------
    PairLock or None
        ``None`` when another live process has the pair.

    """
    lock = PairLock()
    for folder in (settings.output_dir, settings.work_dir):
        if not lock.take(folder / PRIVATE / 'locks' / f'{pair.name}.lock'):
            lock.release()
            return None
    _clear_unfinished(settings.output_dir, pair.name)
    return lock


def _clear_unfinished(output_dir: Path, name: str) -> None:
    """Remove what a killed run left half written of a pair that we now hold."""
    for folder in (output_dir / PRIVATE / 'tmp').glob(f'{name}.*'):
        shutil.rmtree(folder, ignore_errors=True)


def _clear_old(output_dir: Path) -> None:
    """Remove what runs that were killed long ago left half written."""
    for folder in (output_dir / PRIVATE / 'tmp').glob('*'):
        with contextlib.suppress(FileNotFoundError):  # another run may be done with it by now
            if time.time() - folder.stat().st_mtime > _OLD_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


def check_output_dataset(output_dir: Path) -> None:
    """Refuse an output folder that is somebody else's dataset.

    Raises
    ------
    InputError
        When its description says that it is raw data, or the derivatives of another program.

    """
    description = _read_json(output_dir / 'dataset_description.json')
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


def _dicts(value: Any) -> Iterable[dict]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


_README = """\
bidsreg: T1w/T2w registration
=============================

For every pair of scans (sub-01 here; ses-, acq-, run- and so on are kept where the scans have them):

sub-01/anat/
  sub-01_desc-preproc_T1w.nii.gz             the T1w as it was used
  sub-01_desc-brain_mask.nii.gz              its brain mask
  sub-01_space-T2w_desc-brain_mask.nii.gz    the same on the grid of the T2w
  sub-01_space-T1w_desc-preproc_T2w.nii.gz   the T2w on the grid of the T1w
  sub-01_space-T2w_desc-preproc_T1w.nii.gz   the T1w on the grid of the T2w
  sub-01_space-T1w_desc-jacobian_T2w.nii.gz  Jacobian determinant of the deformation
  sub-01_from-T2w_to-T1w_mode-image_xfm.h5   brings T2w data onto the grid of the T1w (ITK composite transform)
  sub-01_from-T1w_to-T2w_mode-image_xfm.h5   brings T1w data onto the grid of the T2w
  sub-01_from-T2w_to-T1w_mode-image_desc-affine_xfm.txt   the affine part alone
  sub-01_desc-registration_qc.json           numbers that judge the registration
sub-01.html                                  the report: start here
logs/                                        what was run, what was paired and why, what to cite

To bring any image that lies with the T2w onto the grid of the T1w:

  antsApplyTransforms -i IMAGE -r sub-01_desc-preproc_T1w.nii.gz \\
      -t sub-01_from-T2w_to-T1w_mode-image_xfm.h5 -o OUT.nii.gz

Points go the other way, as always with ITK: use from-T1w_to-T2w for points of the T2w that are wanted in the T1w.
"""
