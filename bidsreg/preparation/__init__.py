"""The steps before a pair is registered, as plain functions on files; ANTsPy and deepbet are inside.

:mod:`.skullstrip` finds the brain (:mod:`.deepbet` runs the network in a process of its own), :mod:`.bias` corrects the
bias field, :mod:`.prealign` aligns rigidly and by an affine, :mod:`.linear` chooses between the two, and
:mod:`.resample` brings images onto other grids (:mod:`.thinning` onto coarser ones).
:mod:`.tissue` divides a brain into tissue; :mod:`.ratio` divides a T1w by a T2w, which :mod:`.calibration` brings to
reference values at points of the head that :mod:`.landmarks` finds, read without the fields that :mod:`.headfield`
finds around the brain. :mod:`.ants` is the one door to ANTsPy, :mod:`.grids` checks that images lie on one grid, and
:mod:`.affine` makes rigid matrices. :mod:`bidsreg.interfaces` has a Nipype node for each step.
"""
