"""The methods text names what was done, and nothing else."""

from __future__ import annotations

import re

import pytest

from bidsreg import __version__
from bidsreg.programs import APP_PROGRAMS
from bidsreg.registration.presets import PRESETS
from bidsreg.reports.citation import REFERENCES, SCANS, methods_text
from bidsreg.settings import CHOICES, Settings


def text_of(tmp_path, **options) -> str:
    return ' '.join(methods_text(Settings(bids_dir=tmp_path, output_dir=tmp_path / 'out', **options)).split())


def test_everything_that_takes_part_is_cited(tmp_path):
    text = text_of(tmp_path)
    assert f'bidsreg {__version__}' in text
    for reference in REFERENCES.values():
        assert reference in text
    for name in ('Heinrich', 'Chen', 'Wu', 'Tustison', 'Avants', 'Fisch', 'Gorgolewski'):
        assert text.count(name) >= 2  # in a sentence and among the references


@pytest.mark.parametrize(
    ('options', 'missing'),
    [
        ({'skull_strip': 'skip'}, 'Fisch'),
        ({'bias_correction': 'none'}, 'N4ITK'),
        ({'method': 'ants-syn'}, 'Neural ordinary'),
    ],
)
def test_what_was_not_done_is_not_cited(tmp_path, options, missing):
    assert missing in text_of(tmp_path)
    assert missing not in text_of(tmp_path, **options)


def test_the_scans_are_named(tmp_path):
    assert 'T2-weighted scans were registered to the T1-weighted scans' in text_of(tmp_path)
    text = text_of(tmp_path, modalities=('FLAIR', 'PDw', 'PD'))
    assert 'Fluid-attenuated inversion recovery (FLAIR) and proton-density-weighted scans were registered' in text
    assert 'carried over to the other scan' in text
    assert 'T2-weighted' not in text
    assert set(SCANS) >= set(CHOICES['modalities'])
    text = text_of(tmp_path, reference='T2w', modalities=('FLAIR',))
    assert '(FLAIR) scans were registered to the T2-weighted scans of the same person' in text
    assert 'The brain in each T2-weighted scan was extracted with deepbet' in text
    assert 'T1-weighted' not in text.partition('## References')[0]
    assert 'carried over to the T2*-weighted scan' in text_of(tmp_path, modalities=('T2starw',))


@pytest.mark.parametrize('name', APP_PROGRAMS)
def test_every_program_is_cited(tmp_path, name):
    text = methods_text(Settings(bids_dir=tmp_path, output_dir=tmp_path / 'out', method=name))
    body, references = text.split('## References')
    assert f'(method {name}' in ' '.join(body.split())
    for author, year in re.findall(r'([A-Z][a-z]+) et al\. (\d{4})', ' '.join(body.split())):
        assert re.search(rf'^- {author}.*\({year}\)', references, re.M), author


NAMES = {
    'mind': 'MIND;',
    'mind-ssc': 'MIND-SSC;',
    'ngf': 'NGF;',
    'lmi': 'LMI;',
    'gmi': 'GMI;',
    'lncc': 'local correlation',
}
MAKERS = {'node': 'neural ordinary', 'lddmm': 'LDDMM; Beg et al. 2005', 'nodeo': 'NODEO; Wu et al. 2022'}


@pytest.mark.parametrize('name', PRESETS)
def test_every_preset_is_cited_for_what_it_does(tmp_path, name):
    """Its similarity and its velocity are named; what is cited is in the list, and nothing else."""
    body, references = methods_text(Settings(bids_dir=tmp_path, output_dir=tmp_path / 'out', method=name)).split(
        '## References'
    )
    body = ' '.join(body.split())
    assert f'(method {name},' in body
    assert NAMES[PRESETS[name].similarity] in body
    assert MAKERS[PRESETS[name].velocity] in body
    cited = re.findall(r'([A-Z][a-z]+)(?: et al\.| and [A-Z][a-z]+)? (\d{4})', body)
    listed = re.findall(r'^- (\w+) .*?\((\d{4})\)', references, re.M)
    assert set(cited) == set(listed)
    assert ('Heinrich', '2013') not in cited or PRESETS[name].similarity == 'mind-ssc'


@pytest.mark.parametrize(('kind', 'named'), [('uncalibrated', ['Glasser']), ('calibrated', ['Glasser', 'Ganzetti'])])
def test_a_ratio_is_cited_where_it_is_made(tmp_path, kind, named):
    text = text_of(tmp_path, ratio=kind)
    for name in named:
        assert text.count(name) >= 2
        assert name not in text_of(tmp_path)


def test_spaces_are_told_with_their_templates(tmp_path):
    text = text_of(tmp_path, output_spaces=('MNI', 'MNI152NLin6Asym:res-2'))
    assert 'normalised to MNI152NLin2009aSym, MNI152NLin6Asym: by a scan' in text
    assert 'Fonov V' in text
    assert 'TemplateFlow' in text
    assert 'TemplateFlow' not in text_of(tmp_path, output_spaces=('MNI',))
    assert 'normalised to' not in text_of(tmp_path)


@pytest.mark.parametrize('options', [{}, {'method': 'ants-syn', 'reference': 'T2w', 'modalities': ('FLAIR',)}])
def test_lesions_are_told_where_they_were_drawn(tmp_path, options):
    settings = Settings(bids_dir=tmp_path, output_dir=tmp_path / 'out', **options)
    text = ' '.join(methods_text(settings, lesions=True).split())
    assert 'Where lesions had been drawn on a scan, they were left out of' in text
    assert text.count('Brett') == 2, 'in the sentence and among the references'
    without = methods_text(settings)
    assert 'lesion' not in without
