"""Formats of others: what is read here is written as a LeRobot v3.0 dataset, and nothing else knows of it."""
