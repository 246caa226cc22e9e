"""bidsreg-pair: two NIfTI files in, a deformation on disk out."""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable, Collection, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bidsreg.registration import presetfile
from bidsreg.registration.presets import PRESETS, Preset, preset

PACKAGES = ('bidsreg', 'torch', 'torchdiffeq', 'numpy', 'scipy', 'nibabel', 'h5py')

INPUTS = ('fixed', 'moving', 'fixed_mask', 'moving_mask', 'fixed_lesion', 'moving_lesion', 'affine', 'start')
"""Options that name files with data; from the third on, `register` has a parameter of that name."""

EPILOG = """\
OUT/ holds, once all is done: warped.nii.gz (moving on the fixed grid), forward.h5 (brings moving data onto the fixed
grid, for antsApplyTransforms -t), inverse.h5 (the other way), jacobian.nii.gz (of the deformation without the affine,
on the fixed grid) and result.json (settings, losses, seconds, memory, folds, evidence, versions)."""


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog='bidsreg-pair', description=__doc__, epilog=EPILOG)
    parser.add_argument('fixed', type=Path, help='image whose grid and anatomy stay (NIfTI)')
    parser.add_argument('moving', type=Path, help='image that is brought onto it (NIfTI)')
    parser.add_argument('--out', type=Path, required=True, help='folder to make for the results; must not exist')
    parser.add_argument('--fixed-mask', type=Path, help='brain mask on the fixed grid [the whole field of view]')
    parser.add_argument('--moving-mask', type=Path, help='brain mask on the moving grid [the whole field of view]')
    parser.add_argument('--fixed-lesion', type=Path, help='mask on the fixed grid of what must not count [nothing]')
    parser.add_argument('--moving-lesion', type=Path, help='mask on the moving grid of what must not count [nothing]')
    begin = parser.add_mutually_exclusive_group()
    begin.add_argument('--affine', type=Path, help='fixed world to moving world: ITK .txt/.mat or 4x4 text [identity]')
    begin.add_argument(
        '--start',
        type=Path,
        nargs=2,
        metavar=('FORWARD.h5', 'INVERSE.h5'),
        help='go on from what an earlier run found, affine and deformation',
    )
    parser.add_argument('--method', default='node-mind', choices=list(PRESETS), help='[%(default)s]')
    parser.add_argument('--preset-file', type=Path, metavar='FILE.toml', help='settings that differ from the method')
    parser.add_argument(
        '--set',
        type=assignment,
        action='append',
        default=[],
        metavar='FIELD=VALUE',
        help='one setting, such as levels=4:40,2:30 or regularity=h1:0.5; may be repeated, and wins over the file',
    )
    parser.add_argument(
        '--device', default='auto', help='auto, cpu, cuda or cuda:N; auto takes a GPU if there is one [auto]'
    )
    parser.add_argument('--threads', type=int, help='CPU threads [all]')
    parser.add_argument('--seed', type=int, default=2026, help='of the initial network [%(default)s]')
    parser.add_argument('--working-resolution', type=float, metavar='MM', help='finest grid worked on, mm [1.0]')
    parser.add_argument('--sloppy', action='store_true', help='few iterations at 2 mm or coarser, for testing only')
    parser.add_argument('--overwrite', action='store_true', help='replace OUT if it exists')
    parser.add_argument('-q', '--quiet', action='store_true', help='no progress lines')
    parser.add_argument('--version', action='version', version=f'%(prog)s {version("bidsreg")}')
    return parser


def assignment(text: str) -> tuple[str, str]:
    """``FIELD=VALUE`` as a pair."""
    field, sign, value = text.partition('=')
    if not sign:
        raise argparse.ArgumentTypeError(f"FIELD=VALUE is needed, not '{text}'")
    return field.strip(), value


def settings_of(args: argparse.Namespace) -> Preset:
    """The preset that the options ask for: the method, then the file, then single settings, then how coarse.

    Raises
    ------
    ValueError
        If a setting cannot be used.
    """
    chosen = preset(args.method)
    if args.preset_file:
        chosen = presetfile.from_toml(args.preset_file, chosen)
    chosen = presetfile.updated(chosen, dict(args.set))
    if args.working_resolution is not None:
        if not 0.3 <= args.working_resolution <= 8:
            raise ValueError(f'--working-resolution must lie between 0.3 and 8 mm, not {args.working_resolution:g}')
        chosen = chosen.at_resolution(args.working_resolution)
    return chosen.sloppy() if args.sloppy else chosen


def check_names(chosen: Preset) -> None:
    """Refuse settings that name what is in no registry.

    Raises
    ------
    ValueError
        If there is no such similarity, velocity, regulariser or solver; the message lists those there are.
    """
    from bidsreg.registration.flow import SOLVERS
    from bidsreg.registration.regularity import REGULARISERS
    from bidsreg.registration.similarity import SIMILARITIES
    from bidsreg.registration.velocities import VELOCITIES

    known: dict[str, Collection[str]] = {
        'similarity': SIMILARITIES,
        'velocity': VELOCITIES,
        'regularity': REGULARISERS,
        'solver': SOLVERS,
    }
    named = [('similarity', chosen.similarity), ('velocity', chosen.velocity), ('solver', chosen.solver)]
    for field, name in [*named, *(('regularity', name) for name, _ in chosen.regularity)]:
        if name not in known[field]:
            raise ValueError(f"{field}: there is no '{name}'; known are {', '.join(known[field])}")


def pick_device(wanted: str) -> str:
    """The torch device that a user's word means.

    Raises
    ------
    ValueError
        If the word is unknown or the GPU is not there: the CPU never takes its place unasked.
    """
    import torch

    if wanted == 'cpu':
        return 'cpu'
    if wanted == 'auto':
        return 'cuda' if torch.cuda.is_available() else 'cpu'
    kind, _, number = wanted.partition(':')
    if kind != 'cuda' or (number and not number.isdigit()):
        raise ValueError(f"unknown device '{wanted}'; use auto, cpu, cuda or cuda:N")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(number or 0) >= count:
        raise ValueError(f"device '{wanted}' asked for, but this machine shows {count} CUDA GPUs; use --device cpu")
    return wanted


def peak_memory_mb(device: str) -> dict[str, float]:
    """Largest resident memory of this process, and of the GPU where one is used, in MB."""
    out = {'peak_memory_mb': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
    if device != 'cpu':
        import torch

        out['peak_gpu_memory_mb'] = torch.cuda.max_memory_allocated(device) / 2**20
    return out


def show_progress(stream: Any) -> Any:
    """A callback that prints one line per look at the optimisation."""

    def show(p: Any) -> None:
        print(
            f'level {p.level:g} mm  iteration {p.iteration}/{p.iterations}  loss {p.loss:.6f} '
            f'(similarity {p.similarity:.6f}, regularity {p.regularity:.6f})  {p.seconds_left:.0f} s left here',
            file=stream,
            flush=True,
        )

    return show


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Register a pair as the options say and leave the results in ``args.out``; what result.json says."""
    began = time.perf_counter()
    chosen = settings_of(args)
    device = pick_device(args.device)
    if args.out.exists() and not args.overwrite:
        raise ValueError(f'{args.out} exists already; name another folder or give --overwrite')

    import torch

    from bidsreg.registration import Image, register

    check_names(chosen)
    if args.threads:
        torch.set_num_threads(args.threads)
    fixed, moving = Image.load(args.fixed), Image.load(args.moving)
    options = read_options(args)
    loaded = time.perf_counter()
    callback = None if args.quiet else show_progress(sys.stderr)
    result = register(fixed, moving, chosen, device=device, seed=args.seed, callback=callback, **options)
    facts = {
        'method': chosen.name,
        'settings': result.preset.as_dict(),
        'versions': {name: version(name) for name in PACKAGES},
        'inputs': {name: names_of(path) for name in INPUTS if (path := getattr(args, name))},
        'device': device,
        'threads': torch.get_num_threads(),
        'seed': args.seed,
    }
    return facts | write_results(args.out, fixed, moving, result, facts, began, loaded, device)


def read_options(args: argparse.Namespace) -> dict[str, Any]:
    """What `register` is given beside the two images, from the files that were named."""
    from bidsreg.registration import Deformation, Image, itk

    readers: dict[str, Callable[[Any], Any]] = {
        'affine': itk.read_affine,
        'start': lambda paths: Deformation.load(*paths),
    }
    optional = {name: getattr(args, name) for name in INPUTS[2:]}
    return {name: readers.get(name, Image.load)(path) for name, path in optional.items() if path}


def names_of(path: Path | list[Path]) -> str | list[str]:
    """A path or several as text."""
    return [str(p) for p in path] if isinstance(path, list) else str(path)


def write_results(
    out: Path, fixed: Any, moving: Any, result: Any, facts: dict[str, Any], began: float, loaded: float, device: str
) -> dict[str, Any]:
    """Judge a result and write its five files into a new folder that takes the name `out` once it is whole."""
    import numpy as np

    from bidsreg.registration import evidence, metrics

    deformation, brain = result.deformation, result.mask
    decision = evidence.decide(result.evidence['affine'], result.evidence['diffeo'])
    if decision.kept == 'affine':
        still = np.zeros_like(deformation.forward)
        deformation = dataclasses.replace(deformation, forward=still, inverse=still)
    inside = brain.data > 0
    lengths = np.linalg.norm(deformation.forward[inside], axis=-1)
    determinant = deformation.jacobian()
    answer: dict[str, Any] = {
        'iterations': len(result.history),
        'stopped': result.stopped,
        'attempts': result.attempts,
        'repaired_voxels': result.repaired,
        'loss_history': result.history,
        'decision': dataclasses.asdict(decision),
        'evidence': evidence.as_dict(result.evidence),
        'jacobian': metrics.jacobian_summary(
            determinant.data, inside, result.folds if decision.kept == 'diffeo' else 0
        ),
        'displacement_mm': {'mean': float(lengths.mean()), **metrics.summary(lengths, {'p95': 95, 'max': 100})},
        'inverse_consistency_mm': metrics.inverse_consistency(
            deformation.forward, deformation.inverse, deformation.grid, inside
        ),
        'grid': {
            'shape': list(deformation.grid.shape),
            'spacing_mm': deformation.grid.spacing.tolist(),
            'affine': deformation.grid.affine.tolist(),
        },
    }
    temporary = out.with_name(f'.{out.name}.{os.getpid()}')
    temporary.mkdir(parents=True)
    try:
        deformation.apply(moving, fixed.grid).save(temporary / 'warped.nii.gz')
        deformation.save(temporary / 'forward.h5')
        deformation.inverted().save(temporary / 'inverse.h5')
        deformation.jacobian(fixed.grid).save(temporary / 'jacobian.nii.gz')
        done = time.perf_counter()
        answer['seconds'] = {'load': loaded - began, **result.seconds, 'total': done - began}
        answer |= peak_memory_mb(device)
        (temporary / 'result.json').write_text(json.dumps(facts | answer, indent=1))
        if out.exists():
            shutil.rmtree(out)
        temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return answer


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 when done, 1 when the registration failed, 2 for input that cannot be registered."""
    logging.basicConfig(level=logging.INFO, format='%(message)s')
    args = build_parser().parse_args(argv)
    # idle OpenMP threads must not spin: beside another job that makes everything several times slower
    os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')
    from bidsreg.registration.solve import FoldedError

    try:
        answer = run(args)
    except (ValueError, OSError) as error:
        print(f'bidsreg-pair: error: {error}', file=sys.stderr)
        return 2
    except FoldedError as error:
        print(f'bidsreg-pair: failed: {error}', file=sys.stderr)
        return 1
    print(
        f'{args.out}: {answer["decision"]["kept"]} kept, {answer["jacobian"]["folds"]} folds, '
        f'{answer["seconds"]["total"]:.0f} s, {answer["peak_memory_mb"]:.0f} MB',
        file=sys.stderr,
    )
    return 0


if __name__ == '__main__':
    sys.exit(main())
