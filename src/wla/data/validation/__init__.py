"""Dataset validation: reports all problems of a dataset before training fails on the first."""
