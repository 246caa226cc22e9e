"""Batch systems as plugins of Nipype, one small class each."""
