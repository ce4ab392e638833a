from .aloha import aloha_robot as aloha_robot
from .base import Robot as Robot
from .libero import libero_robot as libero_robot
from .registry import load_robot as load_robot
from .safety_limits import SafetyLimits as SafetyLimits
