"""Evaluation: closed-loop benchmarks with reports, open-loop comparison with recordings, world and value metrics."""
