"""Training: the loop, learners for one or several processes, optimisers, training state and ablations."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
