"""A slow policy and an unreliable network in virtual time: how many control steps an answer takes."""

from __future__ import annotations

import random
from math import ceil
from typing import Literal

from pydantic import Field

from wla.config import Config

Chunking = Literal["sync", "async", "ensemble", "rtc"]


class Latency(Config):
    """Time from an observation until the chunk that was predicted from it can be executed."""

    latency_ms: float = Field(default=0.0, ge=0, le=60_000)
    """Milliseconds, on average."""
    jitter_ms: float = Field(default=0.0, ge=0, le=60_000)
    """Standard deviation of it."""
    drop_rate: float = Field(default=0.0, ge=0, lt=1)
    """Fraction of the answers that never arrive; each is asked for again after twice the average."""

    def expected_steps(self, rate_hz: float) -> int:
        """Whole control steps of an answer that takes the average time."""
        return ceil(self.latency_ms / 1000 * rate_hz - 1e-9)

    def steps(self, rate_hz: float, *, seed: int, call: int) -> int:
        """Whole control steps of the episode's call number `call`; the same seed gives the same ones."""
        rng = random.Random(f"{seed} {call}")
        seconds = 0.0
        while rng.random() < self.drop_rate:
            seconds += max(2 * self.latency_ms / 1000, 1 / rate_hz)
        seconds += max(0.0, rng.gauss(self.latency_ms, self.jitter_ms)) / 1000
        # A latency of a whole number of periods is that number of steps, in spite of rounding.
        return ceil(seconds * rate_hz - 1e-9)


class TimingConfig(Config):
    """How chunks reach the robot."""

    chunking: Chunking = "sync"
    """While the next chunk is computed: stand still (sync), keep executing the present one (async), the same with the
    next one continuing it (rtc, real-time chunking), or execute the mean of all chunks for the step and ask for another
    as soon as one arrives (ensemble)."""
    latency: Latency = Latency()
    replan_steps: int | None = Field(default=None, ge=1)
    """Control steps between two requests; the policy's advice when left out."""
