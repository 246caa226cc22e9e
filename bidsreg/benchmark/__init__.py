"""The paper's table on anybody's pairs: ``bidsreg-benchmark``.

The way of a benchmark, module by module:

- :mod:`.cli`, :mod:`.settings`: the command line, and the one frozen object with everything that was asked for.
- :mod:`.run`: one benchmark from the plan to the tables; what is done is not done again.
- :mod:`.case`: a pair and its files. :mod:`.cases` finds, draws and checks the pairs, out of a table
  (:mod:`.case_table`) or a BIDS dataset (:mod:`.case_bids`); :mod:`.labels` says which labels count.
- :mod:`.labelling`: labels for scans that have none, out of tissue classes (:mod:`.tissue`) or structures.
- :mod:`.methods`: what is compared: presets, programs, and the affine alone.
- :mod:`.workflow`: the graph; its own nodes are thin (:mod:`.interfaces`), their work is in :mod:`.masks` and
  :mod:`.cell`.
- :mod:`.folds`: which heads a translation is trained on; :mod:`.translating` trains and translates, in nodes that
  :mod:`.translation_nodes` makes.
- :mod:`.judge`: the one definition of Dice, HD95, errors at points, folds, SDlogJ and inverse consistency, for
  everything in this project that measures; :mod:`.measures` names its numbers for tables.
- :mod:`.cell`: a method on a pair, judged and written as JSON. :mod:`.results` lays cells out as tables of numbers,
  :mod:`.statistics` tests differences, :mod:`.tables` makes the paper's table, :mod:`.formats` writes it,
  :mod:`.figures` and :mod:`.panels` draw.
- :mod:`.files`: JSON without NaN, label images, tables of points.
"""
