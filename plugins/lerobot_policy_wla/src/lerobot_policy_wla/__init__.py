"""World-language-action policies for LeRobot. Importing this registers the policy type `wla`.

Conversion only: model, prompts, normalisation, memory and real-time chunking are those of the package `wla`.
"""

from lerobot_policy_wla.configuration_wla import WlaConfig
from lerobot_policy_wla.modeling_wla import WlaPolicy
from lerobot_policy_wla.processor_wla import make_wla_pre_post_processors

__all__ = ["WlaConfig", "WlaPolicy", "make_wla_pre_post_processors"]
