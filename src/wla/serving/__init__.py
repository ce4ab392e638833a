"""Policies over a network: a server that the clients of openpi can use, and a client that is a policy."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
