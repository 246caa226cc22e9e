"""The table of the resource monitor."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.mark.parametrize('fake', [{}, {'sub-02': 'raise'}])
def test_resource_monitor_leaves_one_table_and_no_litter(app, tmp_path, fake):
    pytest.importorskip('psutil')
    here = {path.name for path in Path().iterdir()}
    assert app('--resource-monitor', fake=fake) == (1 if fake else 0)
    assert {path.name for path in Path().iterdir()} - here <= {'out', 'work'}
    assert Path.cwd() == tmp_path
    assert not list(tmp_path.rglob('.proc-*'))
    (table,) = (tmp_path / 'out' / 'logs').glob('*/resource_monitor.tsv')
    header, *rows = table.read_text().splitlines()
    assert header.split('\t') == ['time', 'process', 'cpu_percent', 'rss_mb', 'vms_mb']
    assert rows
    assert all(float(row.split('\t')[3]) > 1 for row in rows)
