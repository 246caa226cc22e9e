"""Templates: where the image and the brain mask of a space are, and how they are made ready.

:mod:`.sources` finds their files: nilearn's own, those of a TemplateFlow folder, or the user's; :mod:`.prepare` checks
them and writes what a run works with. :mod:`.fetch` gets what is missing before any work; a run reads templates from
disk alone.
"""
