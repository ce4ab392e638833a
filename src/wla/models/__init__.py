"""The model: backbone, meta-queries, World Expert, Action Expert, flow matching, losses."""
