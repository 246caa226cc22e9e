"""What "aligned" means: small classes with one contract (:mod:`.base`), and their registry.

:mod:`.mind` compares descriptors (:mod:`.descriptors`), :mod:`.mutual` and :mod:`.ngf` are the paper's rivals,
:mod:`.intensity` is for images of one contrast; :mod:`.dataterm` works any of them box by box, with its gradient.
"""

from __future__ import annotations

from bidsreg.registration.similarity.base import Similarity
from bidsreg.registration.similarity.intensity import LocalCorrelation, SquaredDifference
from bidsreg.registration.similarity.mind import Mind, MindFeatures, MindSsc
from bidsreg.registration.similarity.mutual import GlobalMutualInformation, LocalMutualInformation
from bidsreg.registration.similarity.ngf import NormalisedGradientFields

__all__ = ['SIMILARITIES', 'Similarity']

SIMILARITIES: dict[str, type[Similarity]] = {
    'mind': Mind,
    'mind-features': MindFeatures,
    'mind-ssc': MindSsc,
    'gmi': GlobalMutualInformation,
    'lmi': LocalMutualInformation,
    'ngf': NormalisedGradientFields,
    'lncc': LocalCorrelation,
    'ssd': SquaredDifference,
}
"""The similarities by the names that a preset knows them by; add one of your own here."""
