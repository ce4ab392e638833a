"""Training recipes, importable by name: `wla train NAME`."""
