"""The methods of bidsreg-pair: presets of this package and programs of other people behind one door."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Generic, TextIO, TypeVar

from bidsreg import LARGEST_SEED, RESOLUTIONS
from bidsreg.environment import collect_again
from bidsreg.errors import InputError
from bidsreg.execution import devices
from bidsreg.execution.machine import allowed_threads
from bidsreg.messages import describe
from bidsreg.pair import presetfile
from bidsreg.pair.request import PairRequest
from bidsreg.programs import Program
from bidsreg.registration.presets import Preset, preset

if TYPE_CHECKING:
    from bidsreg.programs import ProgramResult
    from bidsreg.registration import Image, Result
    from bidsreg.registration.events import Event, Listener

PACKAGES = ('bidsreg', 'torch', 'torchdiffeq', 'numpy', 'scipy', 'nibabel', 'h5py')
"""Packages whose versions are in result.json."""

PRESET_OPTIONS = {
    'preset_file': '--preset-file',
    'assignments': '--set',
    'working_resolution': '--working-resolution',
    'start': '--start',
}
"""Fields of a request, with their options, that a program does not take."""

Found = TypeVar('Found', bound='Result | ProgramResult')
"""The class of results that a method has."""


class PairMethod(ABC, Generic[Found]):
    """One way to register a pair, made ready for a request.

    Attributes
    ----------
    device : str
        The torch device that is used.
    """

    device: str

    @abstractmethod
    def register(self, fixed: Image, moving: Image, inputs: Mapping[str, Any]) -> Found:
        """Find a deformation.

        Parameters
        ----------
        fixed, moving : Image
            The pair.
        inputs : mapping
            What `PairRequest.read_inputs` read.

        Raises
        ------
        ValueError
            If the pair cannot be registered.
        RuntimeError
            If the method fails: a FoldedError or a RegistrationError.
        """

    @abstractmethod
    def facts(self, result: Found) -> dict[str, Any]:
        """Return what result.json says about the method and how it went, JSON-ready."""


class PresetMethod(PairMethod['Result']):
    """A preset of this package, as the options change it.

    Raises
    ------
    ValueError
        If a setting cannot be used, or the device is not there.
    """

    def __init__(self, request: PairRequest) -> None:
        self.request, self.preset = request, chosen_preset(request)
        self.device = pick_device(request.device)
        check_names(self.preset)
        check_read(self.preset, preset(request.method))

    def register(self, fixed: Image, moving: Image, inputs: Mapping[str, Any]) -> Result:
        """Solve in the frame of the fixed image: the network starts from the axes of the grid."""
        import torch

        from bidsreg.pair.framing import Framing
        from bidsreg.pair.margins import without_margins
        from bidsreg.registration import register

        collect_again()
        torch.set_num_threads(allowed_threads(self.request.threads))
        tell = teller(sys.stderr, self.request.quiet)
        seed = self.request.seed
        fixed, moving, inputs, left_out = without_margins(fixed, moving, inputs)
        for event in left_out:
            tell(event)
        framing = Framing(fixed, moving)
        given = framing.inputs(inputs)
        pair = framing.fixed, framing.moving
        found = register(*pair, self.preset, device=self.device, seed=seed, callback=tell, **given)
        found = dataclasses.replace(found, events=(*left_out, *found.events))
        return framing.result(found, inputs)

    def facts(self, result: Result) -> dict[str, Any]:
        """Return what result.json says: the settings that were used, which are stiffer where the first ones folded."""
        import torch

        return {
            'method': self.preset.name,
            'settings': result.preset.as_dict(),
            'versions': package_versions(),
            'threads': torch.get_num_threads(),
            'iterations': len(result.history),
            'path_length_mm': result.path_length,
            'boxed': result.boxed,
        }


class ProgramMethod(PairMethod['ProgramResult']):
    """Another program, on the same images, masks and affine.

    Raises
    ------
    ValueError
        If an option is for presets only, the program is missing, does not tell its version or cannot use the device,
        or the device is not there.
    """

    def __init__(self, request: PairRequest, program: Program) -> None:
        self.request, self.program = request, program
        for field, option in PRESET_OPTIONS.items():
            if getattr(request, field):
                raise ValueError(f'{option} is for the presets only; {program.name} does not take it')
        for end in ('fixed', 'moving'):
            if getattr(request, f'{end}_lesion') and (why := program.cannot_leave_out(end)):
                raise ValueError(f'--{end}-lesion: {why}')
        if why := program.missing():
            raise ValueError(f'--method {program.name}: {why}')
        self.version = self._version()
        self.device = self._device()
        self.threads = allowed_threads(request.threads)

    def _version(self) -> str:
        """Ask before the work: a program that cannot be asked would lose what it found."""
        try:
            return self.program.version()
        except (OSError, subprocess.SubprocessError, PackageNotFoundError) as error:
            raise ValueError(f'--method {self.program.name}: it does not tell its version ({error})') from error

    def _device(self) -> str:
        wanted = self.request.device
        if not self.program.uses_gpu and wanted not in ('auto', 'cpu'):
            raise ValueError(f'{self.program.name} works on the CPU only; use --device cpu, not {wanted}')
        return pick_device(wanted) if self.program.uses_gpu else 'cpu'

    def register(self, fixed: Image, moving: Image, inputs: Mapping[str, Any]) -> ProgramResult:
        """Run the program."""
        import torch

        collect_again()
        torch.set_num_threads(self.threads)
        # beside the results: what a killed run leaves lies in a folder that somebody clears
        scratch = self.request.out.absolute().parent
        scratch.mkdir(parents=True, exist_ok=True)
        result = self.program.register(
            fixed,
            moving,
            threads=self.threads,
            seed=self.request.seed,
            sloppy=self.request.sloppy,
            quiet=self.request.quiet,
            device=self.device,
            scratch=scratch,
            **inputs,
        )
        tell = teller(sys.stderr, self.request.quiet)
        for event in result.events:
            tell(event)
        return result

    def facts(self, result: ProgramResult) -> dict[str, Any]:
        """Return what result.json says; a program tells neither its path nor whether it worked in boxes."""
        return {
            'method': self.program.name,
            'settings': self.program.as_dict(self.request.sloppy),
            'versions': package_versions() | {self.program.name: self.version},
            'threads': self.threads,
            'iterations': result.iterations,
            'path_length_mm': None,
            'boxed': None,
        }


def method_for(request: PairRequest, programs: Mapping[str, Program]) -> PairMethod[Any]:
    """Return the method that a request names, made ready, before an image is read.

    Raises
    ------
    ValueError
        If it cannot do what is asked.
    """
    if request.threads is not None and request.threads < 1:
        raise ValueError(f'--threads must be above zero, not {request.threads}')
    if not 0 <= request.seed <= LARGEST_SEED:
        raise ValueError(f'--seed must lie between 0 and {LARGEST_SEED}, not {request.seed}')
    program = programs.get(request.method)
    return ProgramMethod(request, program) if program else PresetMethod(request)


def chosen_preset(request: PairRequest) -> Preset:
    """Return the preset that a request asks for: the method, then the file, then single settings, then how coarse.

    Raises
    ------
    ValueError
        If a setting cannot be used.
    """
    chosen = preset(request.method)
    if request.preset_file:
        chosen = presetfile.from_toml(request.preset_file, chosen)
    chosen = presetfile.updated(chosen, dict(request.assignments))
    finest = request.working_resolution
    if finest is not None:
        if not RESOLUTIONS[0] <= finest <= RESOLUTIONS[1]:
            raise ValueError(
                '--working-resolution must lie between {} and {} mm, not {:g}'.format(*RESOLUTIONS, finest)
            )
        chosen = chosen.at_resolution(finest)
    return chosen.sloppy() if request.sloppy else chosen


def check_names(chosen: Preset) -> None:
    """Refuse settings that name what is in no registry.

    Raises
    ------
    ValueError
        If there is no such similarity, velocity, regulariser or solver; the message lists those there are.
    """
    from bidsreg.registration import REGULARISERS, SIMILARITIES, SOLVERS, VELOCITIES

    known: dict[str, Collection[str]] = {
        'similarity': SIMILARITIES,
        'velocity': VELOCITIES,
        'regularity': REGULARISERS,
        'solver': SOLVERS,
    }
    named = [('similarity', name) for name, _, _ in chosen.similarities]
    named += [('velocity', chosen.velocity), ('solver', chosen.solver)]
    for field, name in [*named, *(('regularity', name) for name, _ in chosen.regularity)]:
        if name not in known[field]:
            raise ValueError(f"{field}: there is no '{name}'; known are {', '.join(known[field])}")


def check_read(chosen: Preset, base: Preset) -> None:
    """Refuse settings that the velocity and the regularisers of a preset have no use for.

    Parameters
    ----------
    chosen, base
        The preset as the options change it, and as it is named.

    Raises
    ------
    ValueError
        If a setting was changed that nothing reads, or the adjoint is asked for where there is none.
    """
    from bidsreg.registration import REGULARISERS, VELOCITIES

    velocity = VELOCITIES[chosen.velocity]
    used = {*velocity.needs, *(field for name, _ in chosen.regularity for field in REGULARISERS[name].needs)}
    of_velocities = {field for known in VELOCITIES.values() for field in known.needs}
    of_regularisers = {field for known in REGULARISERS.values() for field in known.needs}
    for name in sorted((of_velocities | of_regularisers) - used):
        if getattr(chosen, name) != getattr(base, name):
            raise ValueError(f"{name}: the velocity '{chosen.velocity}' has no use for it")
    if chosen.adjoint and not velocity.eulerian:
        raise ValueError(f"adjoint: the velocity '{chosen.velocity}' has gradients through its solver's steps alone")


def pick_device(wanted: str) -> str:
    """Return the torch device that a user's word means.

    Raises
    ------
    ValueError
        If the word is unknown or the GPU is not there: the CPU never takes its place unasked.
    """
    import torch

    def count() -> int:
        return torch.cuda.device_count() if torch.cuda.is_available() else 0

    try:
        devices.require(wanted, count)
        return devices.resolve(wanted, count)
    except InputError as error:
        raise ValueError(str(error)) from None


def teller(stream: TextIO, quiet: bool) -> Listener:
    """Return a listener that prints one line for each event; a quiet one prints warnings only."""

    def tell(event: Event) -> None:
        if event.warning or not quiet:
            print(describe(event.as_dict()), file=stream, flush=True)

    return tell


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that a result depends on."""
    return {name: version(name) for name in PACKAGES}
