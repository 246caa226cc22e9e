"""Tests of bidsreg; a package, so that no other ``tests`` of the environment is taken for it."""
