"""Carrying files over: images, labels, points and surfaces through the transforms of a registration, or any of ITK's.

The command ``bidsreg-apply`` (:mod:`.cli`) finds transforms by their entities (:mod:`.find`), puts them together
(:mod:`.chain`) and gives each file to what it is (:mod:`.kinds`: a base class and a registry).
"""
