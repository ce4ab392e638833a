"""Training objectives: what is trained, on which batches, with which losses."""
