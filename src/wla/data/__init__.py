"""Datasets to training batches: reading, windows, prompts, transforms, normalisation."""
