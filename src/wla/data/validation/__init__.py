"""Dataset validation: every problem of a dataset, before training meets the first."""
