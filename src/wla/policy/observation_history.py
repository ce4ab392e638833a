"""What a policy carries of earlier steps: frames of the primary camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import UInt8

from wla.types import FIRST, HISTORY, Observation, PolicyState, camera_of

Image = UInt8[np.ndarray, "H W 3"]


def remember(state: PolicyState, image: Image, steps: int) -> PolicyState:
    """The state with the present image among its frames, the last `steps` of which are kept."""
    kept = (*state.frames, image)[-steps:] if steps else ()
    return replace(state, first=image if state.first is None else state.first, frames=kept)


def images_of(name: str, observations: Sequence[Observation], states: Sequence[PolicyState], steps: int) -> list[Image]:
    """The image `name` of each episode: a camera's, or what it showed at the beginning or `steps` before now.

    Before that exists, the beginning stands in; at the beginning it is the present.
    """
    camera = camera_of(name)
    now = [observation.images[camera] for observation in observations]
    if name == camera or (name.startswith(HISTORY) and steps == 0):
        return now
    begun = [image if state.first is None else state.first for image, state in zip(now, states, strict=True)]
    if name.startswith(FIRST):
        return begun
    return [
        state.frames[-steps] if steps <= len(state.frames) else first
        for state, first in zip(states, begun, strict=True)
    ]
