"""Nipype interfaces, one step of a pair in each module.

They are thin: traits, and one call. :mod:`.conform`, :mod:`.skullstrip`, :mod:`.masks`, :mod:`.bias`,
:mod:`.prealign` and :mod:`.apply` call :mod:`bidsreg.preparation`; :mod:`.register` runs ``bidsreg-pair``;
:mod:`.measure` calls :mod:`bidsreg.qc`, :mod:`.draw` :mod:`bidsreg.reports`, and :mod:`.sink` publishes with
:mod:`bidsreg.bids`; :mod:`.base` has what they share. What takes time or memory is imported when it is needed, so that
building a graph is cheap, and nothing here imports torch: the two steps that need it (brain extraction and the solver)
run it in a process of their own.
"""
