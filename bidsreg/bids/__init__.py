"""The dataset: what goes with what, and where everything lies.

:mod:`.pairs` finds which T1w goes with which T2w, and why; :mod:`.headers` checks a file before any work and
:mod:`.images` opens it; :mod:`.names` has the table of the products of a pair and their paths; :mod:`.sidecars` says
beside each product where it comes from, and reads and writes JSON; :mod:`.publish` puts a finished pair in its place,
complete or not at all; :mod:`.dataset` makes the output folder a BIDS derivative; :mod:`.locks` keeps runs that share
a folder off each other.
"""
