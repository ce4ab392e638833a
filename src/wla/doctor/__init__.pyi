from .environment import EnvCheckConfig as EnvCheckConfig
from .environment import check_environment as check_environment
from .finding import Finding as Finding
