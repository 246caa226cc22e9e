"""Quality control: whether a registration can be believed.

:mod:`.facts` gathers the content of a QC file; :mod:`.numbers` measures (overlap, alternatives, edges),
:mod:`.decomposition` takes a matrix apart, and :mod:`.verdict` holds the numbers against the :mod:`.thresholds` of
``thresholds.toml`` or of a user: PASS, CHECK or FAIL. :mod:`.normalisation` does all of that for a person and a
template. :mod:`.dictionary` reads ``dictionary.json``, which says what each number is.
"""
