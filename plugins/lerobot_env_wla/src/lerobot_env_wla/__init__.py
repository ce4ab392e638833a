"""The tabletop for LeRobot. Importing this registers the environment type `wla_tabletop`."""

from lerobot_env_wla.configuration import WlaTabletopConfig
from lerobot_env_wla.env import TabletopForLeRobot

__all__ = ["TabletopForLeRobot", "WlaTabletopConfig"]
