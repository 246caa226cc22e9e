"""The paper's table on anybody's labelled pairs: ``bidsreg-benchmark``.

:mod:`.cases` says which pairs there are, :mod:`.methods` what is compared, :mod:`.metrics` how it is measured; the
graph is :func:`bidsreg.benchmark.workflow.init_benchmark_wf`; :mod:`.results`, :mod:`.tables` and :mod:`.figures` show
what came out.
"""
