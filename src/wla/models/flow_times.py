"""Times of a flow, from 0 (noise) to 1 (data). Apart from the flow, because acting without torch needs them, too."""

from __future__ import annotations

from typing import Any, TypeVar

TimeT = TypeVar("TimeT", bound=Any)
"""A number or a tensor of them."""


def shifted(t: TimeT, shift: float) -> TimeT:
    """Times between 0 and 1 nearer to noise (shift above 1) or to data (below): their noise levels are those of Stable
    Diffusion 3 (Esser et al. 2024), s -> shift s / (1 + (shift - 1) s). Both ends stay."""
    return t / (1 + (shift - 1) * (1 - t))


def step_times(num_steps: int, shift: float = 1.0) -> list[float]:
    """Times at which the steps of sampling begin, and 1, where they end; equally far apart without a shift."""
    return [shifted(step / num_steps, shift) for step in range(num_steps + 1)]
