"""Formats of others, checkpoints and datasets: read here and written as our own; only the command line knows of it."""
