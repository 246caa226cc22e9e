"""Nipype interfaces, one step of a pair in each module.

They are thin: what takes time or memory is imported inside ``_run_interface``, so that building a graph is cheap,
and nothing here imports torch: the two steps that need it (brain extraction and the solver) run it in a process of
their own.
"""
