"""Conversion of foreign checkpoint and dataset formats into our own, and back where a format is published."""
