from .policy import WLAPolicy as WLAPolicy
from .policy import load_policy as load_policy

__version__: str
