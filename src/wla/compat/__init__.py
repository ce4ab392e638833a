"""Conversion of foreign checkpoint and dataset formats into our own, and back where a format is published."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
