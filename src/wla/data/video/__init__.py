"""Encoding and decoding of videos, random access to their frames, caches of decoded frames."""
