"""The page of a study: everybody is on it, the worst first, and it loads nothing."""

from __future__ import annotations

import json
import re
import shutil

from tests.reports.group import Page, group, qc_file, table


def test_the_page_has_everybody_and_loads_nothing(study):
    out, names = study
    group(out)
    page = Page(out / 'group_registration.html')
    assert [load for load in page.loads if not load.startswith('data:')] == []
    assert not re.search(r'https?://(?!www\.w3\.org/2000/svg)|@import|url\(', page.source)
    assert sorted(page.places) == list(range(len(names)))
    assert [pair['name'] for pair in page.data['pairs']] == names
    for link in page.links:
        where, _, mark = link.partition('#')
        if where:
            assert (out / where).is_file()
            assert not mark or f'id="{mark}"' in (out / where).read_text()
        else:
            assert f'id="{mark}"' in page.source
    assert page.data['pairs'][names.index('sub-12_ses-2')]['href'] == 'sub-12.html#sub-12_ses-2'
    assert 'memory <used up> & gone' in page.text, 'the text of a failure is shown, not run'
    assert '1.5 interquartile ranges' in ' '.join(page.text.split())
    for number in page.data['numbers']:
        assert len(number['values']) == len(names)
    by_title = {number['title']: number for number in page.data['numbers']}
    assert by_title['Dice of the brain masks after the affine']['lines'] == [
        {'status': 'CHECK', 'at': 0.92, 'way': 'below'},
        {'status': 'FAIL', 'at': 0.8, 'way': 'below'},
    ]
    assert [line['at'] for line in by_title['Rotation of the affine']['lines']] == [30.0], 'never is no line'
    assert 'seed: 2026' in page.text


def test_the_heading_counts_pairs_and_people_without_one_apart(study):
    out, names = study
    group(out)
    alone, left = 1, 1
    heading = f'{len(names) - alone - left} pairs, 1 person without one, 1 scan left out'
    assert heading in ' '.join(Page(out / 'group_registration.html').text.split())


def test_the_worst_come_first(study):
    out, names = study
    group(out)
    order = [names[place] for place in Page(out / 'group_registration.html').places]
    assert set(order[:3]) == {'sub-05', 'sub-11', 'sub-21'}
    assert set(order[7:9]) == {'sub-08', 'sub-17'}


def test_missing_pages_and_mixed_settings_are_said(study):
    out, names = study
    (out / 'sub-04.html').unlink()
    path = qc_file(out, 'sub-06')
    path.write_text(json.dumps({**json.loads(path.read_text()), 'fingerprint': 'ffffffffffffffff'}))
    group(out)
    page = Page(out / 'group_registration.html')
    assert page.data['pairs'][names.index('sub-04')]['href'] == ''
    text = ' '.join(page.text.split())
    assert '1 pair(s) have no subject page to open' in text
    assert '2 different settings or versions' in text
    assert '1 with node-mind (ffffffffffffffff)' in text


def test_few_pairs_have_no_outliers(tmp_path, written):
    out = tmp_path / 'few'
    for name in ('sub-01', 'sub-02', 'sub-05'):
        shutil.copytree(written[0] / name, out / name)
    assert group(out) == 0
    text = Page(out / 'group_registration.html').text
    assert 'Too few for outliers' in text
    assert {row['outlier_in'] for row in table(out).values()} == {'n/a'}


def test_rewriting_leaves_nothing_behind_and_is_the_same(study):
    out, _ = study
    group(out)
    first = {path.name: path.read_bytes() for path in out.glob('group_*')}
    assert set(first) == {f'group_registration.{ending}' for ending in ('tsv', 'json', 'html')}
    group(out)
    assert {path.name: path.read_bytes() for path in out.glob('group_*')} == first
    assert not list(out.glob('.group*'))
