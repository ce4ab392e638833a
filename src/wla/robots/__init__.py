"""Robots: specifications by name, limits that no action may pass, and the protocol of drivers."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
