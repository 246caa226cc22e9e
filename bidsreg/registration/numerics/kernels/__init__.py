"""Compiled kernels for the CPU: what the torch code beside them computes, in a fraction of its time.

Every kernel names the torch code that it equals; that is its reference in the tests, and what runs on a GPU. Modules of
this package import numba, so whoever uses one imports it inside of the function that needs it: a program that registers
nothing starts without numba. :mod:`.compiling` says how kernels are compiled and where the code is kept.
"""
