"""What a machine lacks (`wla doctor`), and where an environment differs from its recordings (`wla doctor env`)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
