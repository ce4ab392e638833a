"""What a policy carries of earlier steps: frames of the primary camera."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import UInt8

from wla.types import ImageKey, Observation, PolicyState

Image = UInt8[np.ndarray, "H W 3"]


def append_frame(state: PolicyState, image: Image, steps: int) -> PolicyState:
    """The state with the present image among its frames, the last `steps` of which are kept."""
    kept = (*state.frame_history, image)[-steps:] if steps else ()
    return replace(state, first_frame=image if state.first_frame is None else state.first_frame, frame_history=kept)


def frames_kept(names: Iterable[str], steps: int) -> int:
    """Number of frames that a model with these images needs; steps: the history distance."""
    return steps * max(1, *(ImageKey.parse(name).past for name in names))


def images_of(name: str, observations: Sequence[Observation], states: Sequence[PolicyState], steps: int) -> list[Image]:
    """The image `name` of each episode: a camera's, or what it showed at the beginning or before now; `steps`: the
    history distance.

    Before that exists, the beginning stands in; at the beginning it is the present.
    """
    key = ImageKey.parse(name)
    now = [observation.images[key.camera] for observation in observations]
    steps *= key.past
    if key.time == "current" or (key.past and steps == 0):
        return now
    begun = [
        image if state.first_frame is None else state.first_frame for image, state in zip(now, states, strict=True)
    ]
    if key.time == "first":
        return begun
    return [
        state.frame_history[-steps] if steps <= len(state.frame_history) else first
        for state, first in zip(states, begun, strict=True)
    ]
