"""Symmetric normalisation (SyN) by ANTs, through ANTsPy."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from bidsreg.programs.base import Program, ProgramSettings, SimilarityText
from bidsreg.programs.exchange import Fields, Workspace, itk_field
from bidsreg.programs.process import run_python


@dataclass(frozen=True)
class SynSettings(ProgramSettings):
    """The settings of a SyN registration.

    Attributes
    ----------
    metric : str
        ``MI`` (Mattes' mutual information) or ``CC`` (neighbourhood cross-correlation).
    bins_or_radius : int
        Bins of the histogram, or radius of the neighbourhood in voxels.
    gradient_step : float
        ANTsPy's .2: with antsRegistration's usual .1, labels of the pair 03-04 of experiments/pairs.py overlapped 1.9
        points less (commit 20b27f4).
    update_sigma, total_sigma : float
        Variances, in voxels, of the Gaussians that smooth the update and the total field.
    iterations, shrink_factors, smoothing_sigmas : tuple of int
        One number for each level, coarse to fine; sigmas in voxels.
    threshold, window : float, int
        A level ends when the slope of the metric over `window` iterations falls below `threshold`.
    """

    few: ClassVar[Mapping[str, Any]] = {'iterations': (20, 10, 5)}

    metric: str = 'MI'
    bins_or_radius: int = 32
    gradient_step: float = 0.2
    update_sigma: float = 3.0
    total_sigma: float = 0.0
    iterations: tuple[int, ...] = (100, 70, 50)
    shrink_factors: tuple[int, ...] = (4, 2, 1)
    smoothing_sigmas: tuple[int, ...] = (2, 1, 0)
    threshold: float = 1e-6
    window: int = 10

    def words(self, images: Sequence[str]) -> list[str]:
        """Return the words of antsRegistration for a fixed and a moving file."""
        by_level = {
            '-c': f'[{"x".join(map(str, self.iterations))},{self.threshold:g},{self.window}]',
            '-f': 'x'.join(map(str, self.shrink_factors)),
            '-s': 'x'.join(map(str, self.smoothing_sigmas)) + 'vox',
        }
        return [
            *('-t', f'SyN[{self.gradient_step:g},{self.update_sigma:g},{self.total_sigma:g}]'),
            *('-m', f'{self.metric}[{",".join(images)},1,{self.bins_or_radius}]'),
            *[word for pair in by_level.items() for word in pair],
        ]


REFERENCES = {
    'syn': 'Avants BB, Epstein CL, Grossman M, Gee JC (2008). Symmetric diffeomorphic image registration with '
    'cross-correlation: evaluating automated labeling of elderly and neurodegenerative brain. Medical Image Analysis '
    '12:26-41. doi:10.1016/j.media.2007.06.004',
}
"""The reference of every paper that used SyN."""
SIMILARITY_TEXTS = {
    'MI': SimilarityText(
        'mutual information',
        'mutual information ({} bins; Mattes et al. 2003)',
        {
            'mattes': 'Mattes D, Haynor DR, Vesselle H, Lewellen TK, Eubank W (2003). PET-CT image registration in the '
            'chest using free-form deformations. IEEE Transactions on Medical Imaging 22:120-128. '
            'doi:10.1109/TMI.2003.809072',
        },
    ),
    'CC': SimilarityText('cross-correlation', 'cross-correlation (radius of {} voxels)'),
}
"""The words for each metric; the phrase takes its bins or radius."""

MUTUAL_INFORMATION = SynSettings()
CROSS_CORRELATION = SynSettings(metric='CC', bins_or_radius=4)


class AntsSyn(Program[SynSettings]):
    """ANTs SyN; the affine it is given stays as it is, both warps are its own."""

    package, distribution = 'ants', 'antspyx'
    leaves_out = ('fixed', 'moving')

    def __init__(self, name: str, settings: SynSettings) -> None:
        text = SIMILARITY_TEXTS[settings.metric]
        self.name, self.settings = name, settings
        self.description = f'ANTs SyN with {text.name}'
        similarity = text.phrase.format(settings.bins_or_radius)
        self.sentence = f'symmetric normalisation (SyN; Avants et al. 2008) of ANTs, maximising {similarity}'
        self.references = {**REFERENCES, **text.references}

    def run(self, workspace: Workspace) -> Fields:
        """Run antsRegistration in a process of its own."""
        images = [str(workspace.path(end)) for end in ('fixed', 'moving')]
        masks = [str(workspace.path(f'{end}_mask')) for end in ('fixed', 'moving')]
        words = [
            *('-d', '3', '--float', '1', '-o', str(workspace.folder / 'syn_'), '-r', str(workspace.itk_affine)),
            *self.used_settings(workspace.sloppy).words(images),
            *('--random-seed', str(workspace.seed)),
            *(['--masks', f'[{",".join(masks)}]'] if workspace.masked else []),
        ]
        run_python(self.name, words, workspace)
        return Fields(*(itk_field(workspace.folder / f'syn_1{kind}.nii.gz') for kind in ('Warp', 'InverseWarp')))

    def child(self, words: Sequence[str]) -> int:
        """Call antsRegistration with these words."""
        import ants

        try:
            return int(ants.registration(list(words), None) or 0)
        except RuntimeError as error:
            print(error, file=sys.stderr)
            return 1
