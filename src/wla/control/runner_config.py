"""How a policy drives a robot in real time.

Apart from the code that it configures, because the command line shows it and must not wait for the policy's libraries.
"""

from __future__ import annotations

from pydantic import Field

from wla.config import Config
from wla.control.latency import Chunking


class RunnerConfig(Config):
    """Options of `AsyncRunner`."""

    chunking: Chunking = "sync"
    """While the next chunk is computed: stand still (sync), keep executing the present one (async), the same with the
    next one continuing it (rtc, real-time chunking), or execute the mean of all chunks for the step (ensemble)."""
    rate: float | None = Field(default=None, gt=0, le=1000)
    """Control steps per second; the robot's own when left out."""
    replan_steps: int | None = Field(default=None, ge=1)
    """Executed actions between two requests; the policy's advice when left out."""
    max_age_s: float = Field(default=5.0, gt=0)
    """Seconds after which an answer is no longer executed: it is discarded, and another one asked for."""
