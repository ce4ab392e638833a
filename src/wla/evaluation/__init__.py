"""Closed-loop evaluation: the episode loop, benchmarks, the report."""
