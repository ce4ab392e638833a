"""World-language-action robot policies: train, evaluate, inspect, deploy.

``wla.load_policy(name | folder | hub id)`` is the way in for users, ``wla.WLAPolicy`` what it gives; ``wla.types`` is
where a reader starts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wla.policy.wla_policy import WLAPolicy as WLAPolicy
    from wla.policy.wla_policy import load_policy as load_policy

__version__ = "0.1.0"
__all__ = ["WLAPolicy", "__version__", "load_policy"]


def __getattr__(name: str) -> Any:
    # Lazy, so that `import wla` (and `wla --help`) does not pay for torch.
    if name in ("WLAPolicy", "load_policy"):
        from wla.policy import wla_policy

        return getattr(wla_policy, name)
    raise AttributeError(f"module 'wla' has no attribute {name!r}")
