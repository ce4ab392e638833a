"""Datasets to training batches: reading, windows, transforms, normalisation."""
