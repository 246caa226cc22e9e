"""Whether a registration can be believed: numbers, the verdict and its thresholds, the dictionary of the QC file."""
