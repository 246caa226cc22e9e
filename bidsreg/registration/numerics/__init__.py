"""The tools of the heart, which know tensors and grids but nothing of a registration.

Sampling and separable maps, edges, histograms and distances; boxes, threads and devices to work with; the inversion of
fields, and the optimiser's step.
"""
