"""World-language-action robot policies: train, evaluate, inspect, deploy.

``wla.load_policy(name | folder | hub id)`` loads a policy; `wla.types` is where a reader starts. The public names of
each package are in its ``__init__.pyi``; they are imported when they are first used, so that `import wla` does not
import torch.
"""

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
