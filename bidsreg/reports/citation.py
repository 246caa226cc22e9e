"""The methods of a run in words that can go into a paper, with versions and references."""

from __future__ import annotations

import textwrap
import typing
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from bidsreg import __version__
from bidsreg.bids.spaces import EMBEDDED, parse_spaces
from bidsreg.programs import APP_PROGRAMS, niftyreg
from bidsreg.registration.presets import PRESETS

if typing.TYPE_CHECKING:
    from bidsreg.settings import Settings


class MethodText(typing.NamedTuple):
    """A part of a sentence about a method.

    Attributes
    ----------
    phrase : str
        Its words.
    references : mapping
        What they cite, in full, by a short key.
    """

    phrase: str
    references: Mapping[str, str]


#: Works to cite for any method, by the names that the sentences use.
REFERENCES = {
    'ants': 'Avants BB, Tustison NJ, Song G, Cook PA, Klein A, Gee JC (2011). A reproducible evaluation of ANTs '
    'similarity metric performance in brain image registration. NeuroImage 54:2033-2044. '
    'doi:10.1016/j.neuroimage.2010.09.025',
    'deepbet': 'Fisch L, Zumdick S, Barkhau C, et al. (2024). deepbet: Fast brain extraction of T1-weighted MRI using '
    'convolutional neural networks. Computers in Biology and Medicine 179:108845. '
    'doi:10.1016/j.compbiomed.2024.108845',
    'nipype': 'Gorgolewski K, Burns CD, Madison C, et al. (2011). Nipype: a flexible, lightweight and extensible '
    'neuroimaging data processing framework in Python. Frontiers in Neuroinformatics 5:13. '
    'doi:10.3389/fninf.2011.00013',
    'bids': 'Gorgolewski KJ, Auer T, Calhoun VD, et al. (2016). The brain imaging data structure, a format for '
    'organizing and describing outputs of neuroimaging experiments. Scientific Data 3:160044. '
    'doi:10.1038/sdata.2016.44',
    'n4': 'Tustison NJ, Avants BB, Cook PA, et al. (2010). N4ITK: improved N3 bias correction. IEEE Transactions on '
    'Medical Imaging 29:1310-1320. doi:10.1109/TMI.2010.2046908',
}

_GLASSER = {
    'glasser': 'Glasser MF, Van Essen DC (2011). Mapping human cortical areas in vivo based on myelin content as '
    'revealed by T1- and T2-weighted MRI. The Journal of Neuroscience 31:11597-11616. '
    'doi:10.1523/JNEUROSCI.2180-11.2011',
}
_GANZETTI = {
    'ganzetti': 'Ganzetti M, Wenderoth N, Mantini D (2014). Whole brain myelin mapping using T1- and T2-weighted MR '
    'imaging data. Frontiers in Human Neuroscience 8:671. doi:10.3389/fnhum.2014.00671',
}

_NODE = {
    'node': 'Chen RTQ, Rubanova Y, Bettencourt J, Duvenaud D (2018). Neural ordinary differential equations. '
    'Advances in Neural Information Processing Systems 31. arXiv:1806.07366',
}
_NODEO = {
    'nodeo': 'Wu Y, Jiahao TZ, Wang J, Yushkevich PA, Hsieh MA, Gee JC (2022). NODEO: a neural ordinary differential '
    'equation based optimization framework for deformable image registration. IEEE/CVF Conference on Computer Vision '
    'and Pattern Recognition, 20804-20813. arXiv:2108.03443',
}
_MIND = {
    'mind': 'Heinrich MP, Jenkinson M, Bhushan M, et al. (2012). MIND: Modality independent neighbourhood descriptor '
    'for multi-modal deformable registration. Medical Image Analysis 16:1423-1435. '
    'doi:10.1016/j.media.2012.05.008',
}

#: How the deformation of a preset is made, by its velocity; a paper's methods go on with "optimising".
VELOCITY_TEXTS = {
    'node': MethodText(
        'A diffeomorphism was then estimated on the native images as the flow of a neural ordinary differential '
        'equation (Chen et al. 2018; Wu et al. 2022)',
        {**_NODE, **_NODEO},
    ),
    'lddmm': MethodText(
        'A diffeomorphism was then estimated on the native images as the flow of a neural ordinary differential '
        'equation (Chen et al. 2018; Wu et al. 2022), with a velocity of large deformation diffeomorphic metric '
        'mapping (LDDMM; Beg et al. 2005)',
        {
            **_NODE,
            **_NODEO,
            'lddmm': 'Beg MF, Miller MI, Trouvé A, Younes L (2005). Computing large deformation metric mappings via '
            'geodesic flows of diffeomorphisms. International Journal of Computer Vision 61:139-157.',
        },
    ),
    'nodeo': MethodText(
        'A deformation was then estimated on the native images by a neural ordinary differential equation '
        '(Chen et al. 2018) whose state is the cloud of all voxels (NODEO; Wu et al. 2022)',
        {**_NODE, **_NODEO},
    ),
}

#: What a preset optimises, by its similarity.
SIMILARITY_TEXTS = {
    'mind': MethodText(
        'the distance of their modality independent neighbourhood descriptors (MIND; Heinrich et al. 2012)', _MIND
    ),
    'mind-ssc': MethodText(
        'the distance of their modality independent neighbourhood descriptors (MIND; Heinrich et al. 2012) in the form '
        'of self-similarity contexts (MIND-SSC; Heinrich et al. 2013)',
        {**_MIND, **niftyreg.SIMILARITY_TEXTS['--mindssc 1'].references},
    ),
    'lncc': MethodText(
        'their local correlation (Cachier et al. 2003)',
        {
            'lncc': 'Cachier P, Bardinet E, Dormont D, Pennec X, Ayache N (2003). Iconic feature based nonrigid '
            'registration: the PASHA algorithm. Computer Vision and Image Understanding 89:272-298.',
        },
    ),
    'ngf': MethodText(
        'the agreement of their normalised gradient fields (NGF; Haber and Modersitzki 2006)',
        {
            'ngf': 'Haber E, Modersitzki J (2006). Intensity gradient based registration and fusion of multi-modal '
            'images. Medical Image Computing and Computer-Assisted Intervention, LNCS 4191:726-733.',
        },
    ),
    'gmi': MethodText(
        'their global mutual information (GMI; Wells et al. 1996; Maes et al. 1997)',
        {
            'wells': 'Wells WM, Viola P, Atsumi H, Nakajima S, Kikinis R (1996). Multi-modal volume registration by '
            'maximization of mutual information. Medical Image Analysis 1:35-51.',
            'maes': 'Maes F, Collignon A, Vandermeulen D, Marchal G, Suetens P (1997). Multimodality image '
            'registration by maximization of mutual information. IEEE Transactions on Medical Imaging 16:187-198.',
        },
    ),
    'lmi': MethodText(
        'their mutual information within cubes of voxels (LMI; Studholme et al. 2006; Guo 2019)',
        {
            'regional': 'Studholme C, Drapaca C, Iordanova B, Cardenas V (2006). Deformation-based mapping of volume '
            'change from serial brain MRI in the presence of local tissue contrast change. IEEE Transactions on '
            'Medical Imaging 25:626-639.',
            'lmi': 'Guo CK (2019). Multi-modal image registration with unsupervised deep learning. Thesis, '
            'Massachusetts Institute of Technology.',
        },
    ),
}

#: What scans are called in a sentence, by their suffixes.
SCANS = {
    'T1w': 'T1-weighted',
    'T2w': 'T2-weighted',
    'FLAIR': 'fluid-attenuated inversion recovery (FLAIR)',
    'PDw': 'proton-density-weighted',
    'PD': 'proton-density-weighted',
    'T2starw': 'T2*-weighted',
    'T2star': 'T2*-weighted',
    'inplaneT2': 'in-plane T2-weighted',
}

#: The rule that decides between affine and deformation, for every method.
AFFINE_KEPT = 'Where it was no improvement on evidence that had not been optimised, the affine alignment was kept.'

_MASKS = {
    'auto': 'The brain in each {fixed} scan was extracted with deepbet{deepbet} (Fisch et al. 2024), unless the '
    'scan was skull-stripped already or a mask was provided',
    'force': 'The brain in each {fixed} scan was extracted with deepbet{deepbet} (Fisch et al. 2024), unless a '
    'mask was provided',
    'skip': 'The {fixed} scans were taken as skull-stripped, unless a mask was provided',
}


#: What is said where lesions were drawn.
_LESIONS = MethodText(
    'Where lesions had been drawn on a scan, they were left out of the estimation of its intensity inhomogeneity, of '
    'the rigid, affine and deformable alignments, and of the evidence by which affine and deformation were compared '
    '(cost-function masking; Brett et al. 2001). ',
    {
        'brett': 'Brett M, Leff AP, Rorden C, Ashburner J (2001). Spatial normalization of brain images with focal '
        'lesions using cost function masking. NeuroImage 14:486-500. doi:10.1006/nimg.2001.0845',
    },
)

#: What is said of the ratio of the scans, and which works that cites, by what was asked for.
_RATIOS = {
    'none': MethodText('', {}),
    'uncalibrated': MethodText(
        ' The T1-weighted scans were divided by the aligned T2-weighted scans, neither corrected for intensity '
        'inhomogeneity, inside the brain (Glasser and Van Essen 2011).',
        _GLASSER,
    ),
    'calibrated': MethodText(
        ' The T1-weighted scans were divided by the aligned T2-weighted scans inside the brain (Glasser and Van Essen '
        '2011), after a linear calibration of both to reference values of eyes and temporal muscles (Ganzetti et al. '
        '2014), or of cerebrospinal fluid and grey matter where the face was cut away.',
        _GLASSER | _GANZETTI,
    ),
}


def methods_text(settings: Settings, *, lesions: bool = False) -> str:
    """Describe what a run does, in Markdown.

    Parameters
    ----------
    settings
        The settings of the run.
    lesions
        Lesions were drawn on some of the scans.

    Returns
    -------
    str
        Paragraphs to copy (released to the public domain), and the references they name.

    """
    used = ['bids', 'nipype', 'ants']
    if settings.skull_strip != 'skip':
        used.append('deepbet')
    moving = SCANS[settings.modalities[0]] if len(set(settings.modalities)) == 1 else 'other'
    masks = _MASKS[settings.skull_strip].format(deepbet=_version('deepbet'), fixed=SCANS[settings.reference])
    bias = 'The intensity inhomogeneity of the scans was not corrected.'
    if settings.bias_correction == 'n4':
        used.append('n4')
        bias = 'Both scans were corrected for intensity inhomogeneity with N4 (Tustison et al. 2010).'
    ratio = _RATIOS[settings.ratio]
    deformable = _program(settings) if settings.method in APP_PROGRAMS else _preset(settings)
    spaces = _normalisation(settings)
    left_out = _LESIONS if lesions else MethodText('', {})
    cited = {
        **{key: REFERENCES[key] for key in used},
        **_MIND,
        **deformable.references,
        **ratio.references,
        **left_out.references,
        **spaces.references,
    }
    references = '\n'.join(f'- {text}' for text in sorted(cited.values()))
    paragraph = (
        f'{_scans(settings)} were registered to the {SCANS[settings.reference]} scans of the same person with '
        f'bidsreg {__version__}, a BIDS App (Gorgolewski et al. 2016) built on Nipype{_version("nipype")} '
        f'(Gorgolewski et al. 2011). {masks}; it was carried over to the {moving} scan by a rigid alignment. {bias} '
        f'The scans were aligned with ANTs (ANTsPy{_version("antspyx")}; Avants et al. 2011), maximising mutual '
        f'information: rigidly as acquired, then with an affine transform inside the brain masks, which was kept '
        f'if it lowered a distance of MIND (Heinrich et al. 2012), which had not been optimised, in the inner half of '
        f'the brain by at least the fraction by which it stretched the head. {deformable.phrase} '
        f'{spaces.phrase}{left_out.phrase}All transforms were composed, and every resampled image was interpolated '
        f'once from its native grid.{ratio.phrase}'
    )
    parts = [
        '# How the scans were registered',
        'This text was written by bidsreg and may be copied unchanged into a paper (CC0).',
        textwrap.fill(paragraph, 100, break_on_hyphens=False),
        '## References',
        references,
    ]
    return '\n\n'.join(parts) + '\n'


def _scans(settings: Settings) -> str:
    """Name the scans that were registered, as a sentence begins."""
    names = list(dict.fromkeys(SCANS[modality] for modality in settings.modalities))
    listed = f'{", ".join(names[:-1])} and {names[-1]}' if names[1:] else names[0]
    return f'{listed[0].upper()}{listed[1:]} scans'


#: What to cite of templates, by how the names of their spaces begin.
_TEMPLATES = {
    'MNI152NLin2009': 'Fonov V, Evans AC, McKinstry RC, Almli CR, Collins DL (2009). Unbiased nonlinear average '
    'age-appropriate brain templates from birth to adulthood. NeuroImage 47:S102.',
}
_TEMPLATEFLOW = (
    'Ciric R, Thompson WH, Lorenz R, et al. (2022). TemplateFlow: FAIR-sharing of multi-scale, multi-species brain '
    'models. Nature Methods 19:1568-1571.'
)


def _normalisation(settings: Settings) -> MethodText:
    """Say how people were taken to templates; nothing where no space was asked for."""
    spaces = parse_spaces(settings.output_spaces)
    if not spaces:
        return MethodText('', {})
    named = ', '.join(space.label for space in spaces)
    cited = {start: text for start, text in _TEMPLATES.items() if any(space.name.startswith(start) for space in spaces)}
    if any(space.path is None and space.name != EMBEDDED for space in spaces):
        cited['templateflow'] = _TEMPLATEFLOW
    return MethodText(
        f'Everybody was normalised to {named}: by a scan of each person (the T1-weighted one, where there was none the '
        'T2-weighted one) that was aligned to the template with ANTs inside both brain masks, and then with a '
        'diffeomorphism of the kind for two people (method node-mind-inter). ',
        cited,
    )


def _preset(settings: Settings) -> MethodText:
    """Say how a preset found the deformation."""
    device = {'auto': '', 'cpu': ', on the CPU'}.get(settings.device, ', on a GPU')
    how = f'(method {settings.method}, working resolution {settings.working_resolution:g} mm, seed '
    how += f'{settings.random_seed}{device}{", in the fast testing mode" if settings.sloppy else ""})'
    chosen = PRESETS[settings.method]
    made = VELOCITY_TEXTS[chosen.velocity]
    compared = [SIMILARITY_TEXTS[name] for name, _, _ in chosen.similarities]
    text = (
        f'{made.phrase}, optimising {" and ".join(each.phrase for each in compared)} from coarse to fine {how}; '
        f'torch{_version("torch")}, torchdiffeq{_version("torchdiffeq")}. {AFFINE_KEPT}'
    )
    references = {key: words for each in (made, *compared) for key, words in each.references.items()}
    return MethodText(text, references)


def _program(settings: Settings) -> MethodText:
    """Say with which other program the deformation was found."""
    program = APP_PROGRAMS[settings.method]
    number = '' if program.missing() else f', version {program.version()}'
    testing = ', in the fast testing mode' if settings.sloppy else ''
    text = (
        f'A deformation was then estimated on the native images with {program.sentence} '
        f'(method {program.name}{number}, seed {settings.random_seed}{testing}). {AFFINE_KEPT}'
    )
    return MethodText(text, program.references)


def _version(package: str) -> str:
    """Return a package's version after a space; empty where it is not installed."""
    try:
        return f' {version(package)}'
    except PackageNotFoundError:
        return ''
