"""The last node of a pair: its files go to the derivatives."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nipype.interfaces.base import File, traits

from bidsreg.bids.images import load_image
from bidsreg.bids.names import PRODUCTS, T2W_TO_T1W, affine_path, pair_outputs
from bidsreg.interfaces.base import Step, StepInputSpec, StepOutputSpec, given
from bidsreg.preparation.formats import write_matrix
from bidsreg.registration.itk import read_affine

#: Products that a node of the graph makes; the QC file is written from the facts.
FILES = tuple(key for key in PRODUCTS if key != 'qc')


class _PublishPairInputSpec(StepInputSpec):
    pair = traits.Any(mandatory=True, desc='bidsreg.bids.pairs.Pair')
    settings = traits.Any(mandatory=True, nohash=True, desc='bidsreg.settings.Settings')
    facts = traits.Dict(mandatory=True, desc='what goes into the QC file')
    fixed_lesion = File(exists=True, desc='the lesions of the fixed scan that were left out')
    moving_lesion = File(exists=True, desc='those of the moving scan')
    figures = traits.List(File(exists=True), desc='SVG, named as the pictures of bidsreg.reports.pictures')


for _key in FILES:
    _PublishPairInputSpec.add_class_trait(
        _key, File(exists=True, mandatory=True, desc=T2W_TO_T1W.fill(PRODUCTS[_key].description))
    )


class _PublishPairOutputSpec(StepOutputSpec):
    out_file = File(desc='the QC file, which is there once everything else is')


class PublishPair(Step):
    """Publish the files of one pair, each by an atomic write, the QC file last.

    Its inputs are a file for each of :data:`FILES`, ``pair``, ``settings``, ``facts``, ``figures`` and lesions. It
    always runs: derivatives that were removed come back from a work folder that is there.
    """

    input_spec = _PublishPairInputSpec
    output_spec = _PublishPairOutputSpec
    _always_run = True

    def _affines(self, files: Mapping[str, Path], cwd: str) -> dict[Path, Path]:
        """Write the affine in the formats that were asked for; return where each goes, and where it is."""
        pair, settings = self.inputs.pair, self.inputs.settings
        if not settings.affine_formats:
            return {}
        fixed, moving = (load_image(files[key]) for key in ('fixed_preproc', 'moving_preproc'))
        written: dict[Path, Path] = {}
        for name in settings.affine_formats:
            goal = affine_path(pair.entities, settings.output_dir, name, pair.contrasts)
            written[goal] = Path(cwd) / f'affine{goal.suffix}'
            write_matrix(written[goal], read_affine(files['affine_xfm']), fixed, moving, name)
        return written

    def _compute(self, runtime: Any) -> None:
        from bidsreg.bids.publish import publish
        from bidsreg.reports.pictures import picture_path

        inputs, pair, settings = self.inputs, self.inputs.pair, self.inputs.settings
        found = map(Path, given(inputs, ['figures']).get('figures', ()))
        figures = {picture_path(pair, settings.output_dir, path.stem): path for path in found}
        files = {name: Path(path) for name, path in given(inputs, FILES).items()}
        lesions = given(inputs, ('fixed_lesion', 'moving_lesion'))
        ill = {name.removesuffix('_lesion'): Path(path) for name, path in lesions.items()}
        publish(files, pair, settings, inputs.facts, figures | self._affines(files, runtime.cwd), ill)
        self._results['out_file'] = str(pair_outputs(pair, settings.output_dir)['qc'])
