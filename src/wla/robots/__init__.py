"""Robot specifications by name."""
