"""Quality control: whether a registration can be believed.

:mod:`.facts` gathers the content of a QC file; :mod:`.numbers` measures (overlap, alternatives, edges),
:mod:`.decomposition` takes a matrix apart, and :mod:`.verdict` holds the numbers against the thresholds of
``thresholds.toml`` or of a user: PASS, CHECK or FAIL. :mod:`.dictionary` reads ``dictionary.json``, which says what
each number is.
"""
