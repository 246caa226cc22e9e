"""The command ``bidsreg-pair``: two images, any method, one folder of results.

The room is laid out along the way of a call:

- `cli`: the options, and the way from them to the folder
- `request`: what was asked for, as one frozen dataclass, and the files that it names
- `masks`: the brain in skull-stripped images that come without a mask
- `presetfile`: settings of a preset from the command line and from TOML
- `methods`: presets of this package and programs of other people behind one door
- `results`: affine or deformation, the numbers of ``result.json``, and the five files

``python -m bidsreg.pair`` is the same command; the app starts it in a process of its own for every pair, so that torch
never lives in the process that plans the work. Nothing here imports torch before the options are read.
"""
