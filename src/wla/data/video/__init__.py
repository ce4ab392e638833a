"""Video encoding, decoding, random access and frame caches."""
