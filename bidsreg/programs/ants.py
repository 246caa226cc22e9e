"""Symmetric normalisation (SyN) by ANTs, through ANTsPy."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from bidsreg.programs.base import Fields, Program, Workspace, itk_field, run_python


@dataclass(frozen=True)
class SynSettings:
    """What decides a SyN registration.

    Attributes
    ----------
    metric : str
        ``MI`` (Mattes' mutual information) or ``CC`` (neighbourhood cross-correlation).
    bins_or_radius : int
        Bins of the histogram, or radius of the neighbourhood in voxels.
    gradient_step : float
        ANTsPy's .2: with antsRegistration's usual .1, labels of two people overlapped 1.9 points less.
    update_sigma, total_sigma : float
        Variances, in voxels, of the Gaussians that smooth the update and the total field.
    iterations, shrink_factors, smoothing_sigmas : tuple of int
        Of each level, coarse to fine; sigmas in voxels.
    threshold, window : float, int
        A level ends when the slope of the metric over `window` iterations falls below `threshold`.
    """

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

    def sloppy(self) -> SynSettings:
        """Few iterations, for tests."""
        return dataclasses.replace(self, iterations=(20, 10, 5))

    def words(self, images: Sequence[str]) -> list[str]:
        """The words of antsRegistration for a fixed and a moving file."""
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
    'mattes': 'Mattes D, Haynor DR, Vesselle H, Lewellen TK, Eubank W (2003). PET-CT image registration in the chest '
    'using free-form deformations. IEEE Transactions on Medical Imaging 22:120-128. doi:10.1109/TMI.2003.809072',
}
LIKENESS = {
    'MI': ('mutual information', 'mutual information ({} bins; Mattes et al. 2003)', ('syn', 'mattes')),
    'CC': ('cross-correlation', 'cross-correlation (radius of {} voxels)', ('syn',)),
}
"""Of each metric: its name, what a paper says of it, and whom it cites."""

MUTUAL_INFORMATION = SynSettings()
CROSS_CORRELATION = SynSettings(metric='CC', bins_or_radius=4)


class AntsSyn(Program):
    """ANTs SyN; the affine it is given stays as it is, both warps are its own."""

    package, distribution = 'ants', 'antspyx'

    def __init__(self, name: str, settings: SynSettings) -> None:
        likeness, words, cited = LIKENESS[settings.metric]
        self.name, self.settings = name, settings
        self.description = f'ANTs SyN with {likeness}'
        likeness = words.format(settings.bins_or_radius)
        self.sentence = f'symmetric normalisation (SyN; Avants et al. 2008) of ANTs, maximising {likeness}'
        self.references = {key: REFERENCES[key] for key in cited}

    def run(self, work: Workspace) -> Fields:
        """antsRegistration in a process of its own."""
        masks = [str(work.path(f'{end}_mask')) for end in ('fixed', 'moving')]
        words = [
            *('-d', '3', '--float', '1', '-o', str(work.folder / 'syn_'), '-r', str(work.itk_affine)),
            *self.used_settings(work.sloppy).words([str(work.path('fixed')), str(work.path('moving'))]),
            *('--random-seed', str(work.seed)),
            *(['--masks', f'[{",".join(masks)}]'] if work.masked else []),
        ]
        run_python(self.name, words, work)
        return Fields(*(itk_field(work.folder / f'syn_1{kind}.nii.gz') for kind in ('Warp', 'InverseWarp')))

    @staticmethod
    def child(words: Sequence[str]) -> int:
        """Call antsRegistration with these words."""
        import ants

        try:
            return int(ants.registration(list(words), None) or 0)
        except RuntimeError as error:
            print(error, file=sys.stderr)
            return 1
