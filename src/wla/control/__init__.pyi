from .safety import Intervention as Intervention
from .safety import SafetyLayer as SafetyLayer
