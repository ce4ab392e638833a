"""Any gymnasium environment as an environment family, by a mapping file."""
