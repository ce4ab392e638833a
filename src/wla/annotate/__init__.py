"""Subtask labels for datasets that have none: by rules, by a vision-language model, or by hand."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
