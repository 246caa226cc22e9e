"""The tools of the heart that know nothing of images: sampling, separable maps, threads, inversion, the optimiser."""
