"""Episodes: the episode loop, its workers and recordings, data collection."""
