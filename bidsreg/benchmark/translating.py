"""Translations of a benchmark as Nipype interfaces: ``bidsreg-translate`` in processes of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nipype.interfaces.base import File, isdefined, traits

from bidsreg import SEED
from bidsreg.bids.names import sidecar
from bidsreg.bids.sidecars import read_json
from bidsreg.environment import for_threads
from bidsreg.errors import InputError
from bidsreg.interfaces.base import Step, StepInputSpec, StepOutputSpec
from bidsreg.interfaces.register import children_cpu_seconds
from bidsreg.outcome import killed_error
from bidsreg.preparation.grids import stem
from bidsreg.registration.atomic import write_text

#: Contrasts of the two ends of a pair.
SOURCE, TARGET = 'moving', 'fixed'
#: Options of a training that is to be fast and bad.
SLOPPY = ('--steps', '2', '--width', '2', '--spacing', '8')


def translate(words: Sequence[str], threads: int) -> None:
    """Run ``bidsreg-translate``.

    Raises
    ------
    InputError, ProcessKilledError, RuntimeError
        If it cannot use its input, was killed, or failed; the message is its last words.
    """
    command = [sys.executable, '-m', 'bidsreg.translation', *words]
    environment = for_threads(threads)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, errors='replace', check=False)
    said = (done.stderr.strip().splitlines() or ['no message'])[-1]
    if done.returncode < 0:  # there is no shell in between
        raise killed_error(f'bidsreg-translate {words[0]}', -done.returncode)
    if done.returncode:
        kind = InputError if done.returncode == 2 else RuntimeError
        raise kind(f'bidsreg-translate {words[0]} failed (return code {done.returncode}): {said}')


class _FitInputSpec(StepInputSpec):
    method = traits.Str(mandatory=True, desc='name of the recipe')
    images = traits.List(File(exists=True), mandatory=True, desc='scans as every method gets them')
    masks = traits.List(File(exists=True), mandatory=True, desc='their brain masks')
    contrasts = traits.List(traits.Str, mandatory=True, desc='of each scan, fixed or moving')
    heads = traits.List(traits.Str, mandatory=True, desc='whose each scan is')
    steps = traits.Int(desc='of the training; those of the recipe otherwise')
    sloppy = traits.Bool(False, usedefault=True, desc='fast and bad, for trying things out')
    device = traits.Str('cpu', usedefault=True, desc='auto, cpu, cuda or cuda:N')
    seed = traits.Int(SEED, usedefault=True, desc='of the networks and the draws')
    threads = traits.Range(low=1, value=1, usedefault=True, nohash=True, desc='CPU threads')
    use_gpu = traits.Bool(False, usedefault=True, desc='lets Nipype count this node as one that needs a GPU')


class _FitOutputSpec(StepOutputSpec):
    model = File(desc='the model')
    cpu_seconds = traits.Float(desc='CPU seconds of the steps')


class FitTranslation(Step):
    """Train a translation of moving images into what looks like fixed ones."""

    input_spec = _FitInputSpec
    output_spec = _FitOutputSpec

    def _compute(self, runtime: Any) -> None:
        inputs, folder = self.inputs, Path(runtime.cwd)
        columns = zip(inputs.heads, inputs.contrasts, inputs.images, inputs.masks, strict=True)
        lines = ['subject\tcontrast\timage\tmask', *('\t'.join(cells) for cells in columns)]
        write_text(folder / 'scans.tsv', '\n'.join(lines) + '\n')
        words = ['fit', str(folder / 'scans.tsv'), str(folder / 'model'), '--method', inputs.method]
        words += ['--source', SOURCE, '--target', TARGET, '--bias-correction', 'none', '--device', inputs.device]
        words += ['--seed', str(inputs.seed), '--threads', str(inputs.threads)]
        words += SLOPPY if inputs.sloppy else ['--steps', str(inputs.steps)] if isdefined(inputs.steps) else []
        translate(words, inputs.threads)
        self._results['model'] = str(folder / 'model' / 'model.safetensors')
        self._results['cpu_seconds'] = (read_json(folder / 'model' / 'fit.json') or {})['cpu_seconds']


class _TranslateInputSpec(StepInputSpec):
    model = File(exists=True, mandatory=True, desc='the model')
    training_cpu_seconds = traits.Float(desc='CPU seconds of its training')
    in_file = File(exists=True, mandatory=True, desc='moving image as every method gets it')
    mask = File(exists=True, mandatory=True, desc='its brain mask')
    device = traits.Str('cpu', usedefault=True, desc='auto, cpu, cuda or cuda:N')
    threads = traits.Range(low=1, value=1, usedefault=True, nohash=True, desc='CPU threads')
    use_gpu = traits.Bool(False, usedefault=True, desc='lets Nipype count this node as one that needs a GPU')


class _TranslateOutputSpec(StepOutputSpec):
    out_file = File(desc='the translation, on the same grid')
    facts = traits.Dict(desc='seconds of the training and of this step, and how far structure moved')


class Translate(Step):
    """Translate a moving image."""

    input_spec = _TranslateInputSpec
    output_spec = _TranslateOutputSpec

    def _compute(self, runtime: Any) -> None:
        inputs = self.inputs
        out = Path(runtime.cwd) / f'{stem(inputs.in_file)}_translated.nii.gz'
        words = ['apply', inputs.model, inputs.in_file, '-o', os.fspath(out), '--mask', inputs.mask]
        words += ['--bias-correction', 'none', '--device', inputs.device, '--threads', str(inputs.threads)]
        began, used = time.perf_counter(), children_cpu_seconds()
        translate(words, inputs.threads)
        self._results['out_file'] = str(out)
        self._results['facts'] = {
            'translation_seconds': round(time.perf_counter() - began, 3),
            'translation_cpu_seconds': round(children_cpu_seconds() - used, 3),
            'translation_mind': (read_json(sidecar(out)) or {})['MindDistance'],
            **({'training_cpu_seconds': inputs.training_cpu_seconds} if isdefined(inputs.training_cpu_seconds) else {}),
        }
