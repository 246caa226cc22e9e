"""Domain transfer: unpaired translation between contrasts, trained on the user's own scans. ``bidsreg-translate``.

- :mod:`.recipes`: the methods by name, as frozen dataclasses; no torch, so that command lines can list them.
- :mod:`.cli`, :mod:`.settings`: the command line, and the one frozen object with everything a training was asked for.
- :mod:`.sources` finds the scans, in a BIDS dataset or a table; :mod:`.volumes` masks, corrects and scales them and
  brings them onto grids along the world axes; :mod:`.slices` draws from them, never one head in both domains.
- :mod:`.base`: the contract of a translator; :mod:`.networks` and :mod:`.costs` are what translators share;
  :mod:`.cyclegan`, :mod:`.cut` and :mod:`.transport` state what differs, and :mod:`.registry` lists them.
- :mod:`.fit`: one training from the check to the model; :mod:`.training` is its loop, :mod:`.tensorfiles` its
  checkpoints and the files of models, :mod:`.plots` its pictures.
- :mod:`.stacks` translates a volume, :mod:`.rewrite` a file.

torch and MONAI are imported by the modules that work with tensors alone.
"""
