"""bidsreg-pair: two NIfTI files in, a deformation on disk out."""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import os
import resource
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bidsreg.pair import presetfile
from bidsreg.programs import PROGRAMS, Program
from bidsreg.registration.atomic import atomic_folder
from bidsreg.registration.errors import RegistrationError
from bidsreg.registration.presets import PRESETS, Preset, preset

PACKAGES = ('bidsreg', 'torch', 'torchdiffeq', 'numpy', 'scipy', 'nibabel', 'h5py')

INPUTS = ('fixed', 'moving', 'fixed_mask', 'moving_mask', 'fixed_lesion', 'moving_lesion', 'affine', 'start')
"""Options that name files with data; from the third on, `register` has a parameter of that name."""

OWN_OPTIONS = ('preset_file', 'set', 'working_resolution', 'fixed_lesion', 'moving_lesion', 'start')
"""Options that a program does not take."""

EPILOG = """\
OUT/ holds, once all is done: warped.nii.gz (moving on the fixed grid), forward.h5 (brings moving data onto the fixed
grid, for antsApplyTransforms -t), inverse.h5 (the other way), jacobian.nii.gz (of the deformation without the affine,
on the fixed grid) and result.json (settings, losses, seconds, memory, folds, evidence, versions)."""


KEEP = ('better', 'diffeo')
"""What is kept: the affine where the evidence says that the deformation does harm, or the deformation in any case."""


def build_parser(programs: Collection[str] = tuple(PROGRAMS)) -> argparse.ArgumentParser:
    """The command line, with the names of programs that may be asked for beside the presets."""
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
    parser.add_argument('--method', default='node-mind', choices=[*PRESETS, *programs], help='[%(default)s]')
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
    parser.add_argument(
        '--keep',
        choices=KEEP,
        default=KEEP[0],
        help='better: the affine where the deformation looks worse by evidence that was not optimised; diffeo: the '
        'deformation in any case, to compare methods by their own answers [%(default)s]',
    )
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
    from bidsreg.registration.similarity.base import SIMILARITIES
    from bidsreg.registration.velocity.registry import VELOCITIES

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

    from bidsreg.errors import InputError
    from bidsreg.execution import devices

    def count() -> int:
        return torch.cuda.device_count() if torch.cuda.is_available() else 0

    try:
        devices.require(wanted, count)
        return devices.resolve(wanted, count)
    except InputError as error:
        raise ValueError(str(error)) from None


def peak_memory_mb(device: str) -> dict[str, float]:
    """Largest resident memory of this process or one it started, and of the GPU where one is used, in MB."""
    used = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    out = {'peak_memory_mb': max(used) / 1024}
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


class OwnMethod:
    """A preset of this package, as the options change it."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.preset = args, settings_of(args)
        self.device = pick_device(args.device)
        check_names(self.preset)

    def register(self, fixed: Any, moving: Any, options: dict[str, Any]) -> Any:
        """Solve."""
        import torch

        from bidsreg.registration import register

        if self.args.threads:
            torch.set_num_threads(self.args.threads)
        callback = None if self.args.quiet else show_progress(sys.stderr)
        seed = self.args.seed
        return register(fixed, moving, self.preset, device=self.device, seed=seed, callback=callback, **options)

    def facts(self, result: Any) -> dict[str, Any]:
        """What result.json says about the method."""
        import torch

        return {
            'method': self.preset.name,
            'settings': result.preset.as_dict(),
            'versions': {name: version(name) for name in PACKAGES},
            'threads': torch.get_num_threads(),
            'iterations': len(result.history),
            'path_length_mm': result.path_length,
            'boxed': result.boxed,
        }


class ProgramMethod:
    """Another program, on the same images, masks and affine."""

    def __init__(self, args: argparse.Namespace, program: Program) -> None:
        self.args, self.program = args, program
        for option in OWN_OPTIONS:
            if getattr(args, option):
                raise ValueError(
                    f'--{option.replace("_", "-")} is for the presets only; {program.name} does not take it'
                )
        if why := program.missing():
            raise ValueError(f'--method {program.name}: {why}')
        self.device = self._device()
        self.threads = args.threads or os.cpu_count() or 1

    def _device(self) -> str:
        wanted = self.args.device
        if not self.program.uses_gpu and wanted not in ('auto', 'cpu'):
            raise ValueError(f'{self.program.name} works on the CPU only; use --device cpu, not {wanted}')
        return pick_device(wanted) if self.program.uses_gpu else 'cpu'

    def register(self, fixed: Any, moving: Any, options: dict[str, Any]) -> Any:
        """Run the program."""
        import torch

        torch.set_num_threads(self.threads)
        given = {name: getattr(self.args, name) for name in ('seed', 'sloppy', 'quiet')}
        # beside the results: what a killed run leaves lies in a folder that somebody clears
        given['scratch'] = self.args.out.absolute().parent
        given['scratch'].mkdir(parents=True, exist_ok=True)
        return self.program.register(fixed, moving, threads=self.threads, device=self.device, **given, **options)

    def facts(self, result: Any) -> dict[str, Any]:
        """What result.json says about the method."""
        return {
            'method': self.program.name,
            'settings': self.program.as_dict(self.args.sloppy),
            'versions': {name: version(name) for name in PACKAGES} | {self.program.name: self.program.version()},
            'threads': self.threads,
            'iterations': result.iterations,
            'path_length_mm': None,
            'boxed': None,
        }


def run(args: argparse.Namespace, programs: Mapping[str, Program] = PROGRAMS) -> dict[str, Any]:
    """Register a pair as the options say and leave the results in ``args.out``; what result.json says."""
    began = time.perf_counter()
    program = programs.get(args.method)
    method = ProgramMethod(args, program) if program else OwnMethod(args)
    if args.out.exists() and not args.overwrite:
        raise ValueError(f'{args.out} exists already; name another folder or give --overwrite')

    from bidsreg.registration import Image

    fixed, moving = Image.load(args.fixed), Image.load(args.moving)
    options = read_options(args)
    loaded = time.perf_counter()
    result = method.register(fixed, moving, options)
    facts = method.facts(result) | {
        'inputs': {name: names_of(path) for name in INPUTS if (path := getattr(args, name))},
        'device': method.device,
        'seed': args.seed,
    }
    return write_results(args, fixed, moving, result, facts, began, loaded)


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


def decide(keep: str, evidence_of: Mapping[str, Any]) -> dict[str, str]:
    """What is ``kept``, the ``reason``, and what would be ``better`` by the evidence."""
    from bidsreg.registration import evidence

    decision = evidence.decide(evidence_of['affine'], evidence_of['diffeo'])
    answer = {**dataclasses.asdict(decision), 'better': decision.kept}
    if keep == 'diffeo':
        answer |= {'kept': keep, 'reason': f'--keep diffeo was asked for; {decision.reason}'}
    return answer


def write_results(
    args: argparse.Namespace, fixed: Any, moving: Any, result: Any, facts: dict[str, Any], began: float, loaded: float
) -> dict[str, Any]:
    """Judge a result and write its five files into a new folder that takes its name once it is whole."""
    import numpy as np

    from bidsreg.registration import evidence, metrics

    out, deformation, brain = args.out, result.deformation, result.mask
    decision = decide(args.keep, result.evidence)
    if decision['kept'] == 'affine':
        still = np.zeros_like(deformation.forward)
        deformation = dataclasses.replace(deformation, forward=still, inverse=still)
    inside = brain.data > 0
    lengths = np.linalg.norm(deformation.forward[inside], axis=-1)
    determinant = deformation.jacobian()
    answer: dict[str, Any] = {
        'stopped': result.stopped,
        'attempts': result.attempts,
        'repaired_voxels': result.repaired,
        'loss_history': result.history,
        'decision': decision,
        'evidence': evidence.as_dict(result.evidence),
        'jacobian': metrics.jacobian_summary(
            determinant.data, inside, result.folds if decision['kept'] == 'diffeo' else 0
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
    with atomic_folder(out) as folder:
        _write_files(folder, deformation, fixed, moving)
        done = time.perf_counter()
        answer['seconds'] = {'load': loaded - began, **result.seconds, 'total': done - began}
        answer = facts | answer | peak_memory_mb(facts['device'])
        (folder / 'result.json').write_text(json.dumps(answer, indent=1))
    return answer


def _write_files(folder: Path, deformation: Any, fixed: Any, moving: Any) -> None:
    """Write images and transforms, several at a time: packing them takes seconds."""
    import torch

    from bidsreg.registration.numerics.threads import in_threads

    tasks = (
        lambda: deformation.apply(moving, fixed.grid).save(folder / 'warped.nii.gz'),
        lambda: deformation.save(folder / 'forward.h5'),
        lambda: deformation.jacobian(fixed.grid).save(folder / 'jacobian.nii.gz'),
        lambda: deformation.inverted().save(folder / 'inverse.h5'),
    )
    in_threads(lambda task: task(), tasks, torch.get_num_threads())


def main(argv: Sequence[str] | None = None, programs: Mapping[str, Program] = PROGRAMS) -> int:
    """Run the command; 0 when done, 1 when the registration failed, 2 for input that cannot be registered.

    Parameters
    ----------
    argv : sequence of str, optional
        The words after the program's name. Default: those of this process.
    programs : mapping of str to Program
        Other programs that ``--method`` may name.
    """
    logging.basicConfig(level=logging.INFO, format='%(message)s')
    args = build_parser(programs).parse_args(argv)
    # idle OpenMP threads must not spin for long, which would slow down other jobs beside this one; but a little: waking
    # one that sleeps takes longer than many an operation
    os.environ.setdefault('GOMP_SPINCOUNT', '20000')
    from bidsreg.registration.numerics.threads import keep_freed_memory
    from bidsreg.registration.solve import FoldedError

    keep_freed_memory()
    try:
        answer = run(args, programs)
    except (ValueError, OSError) as error:
        print(f'bidsreg-pair: error: {error}', file=sys.stderr)
        return 2
    except (FoldedError, RegistrationError) as error:
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
