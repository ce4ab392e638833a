"""Modules of the package that `wla init --env` and `--robot` write: they work as they are, and are to be changed."""
