"""Where several environments run at once."""
