"""The vocabulary of the package. Read this first.

Letters in shapes: B batch, H W image, S state dimensions, A action dimensions, n chunk length, T tokens,
Q meta-queries, D width. Units and frames of states and actions are written down in a `wla.specs.RobotSpec`, never
assumed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Float32, UInt8

from wla.specs import RobotSpec

Outcome = Literal["success", "failure", "error"]

IGNORE_INDEX = -100
"""Label of a token that no text is learned from."""

ImageTime = Literal["current", "history", "first"]


@dataclass(frozen=True)
class ImageKey:
    """A camera and the time of its image: the current step, some steps before it, or the first step of the episode.

    Configurations, batches and observations use the string form as key: `front`, `history front`, `first front`.
    """

    camera: str
    time: ImageTime = "current"

    @classmethod
    def parse(cls, name: str) -> ImageKey:
        """The inverse of `str`."""
        before, _, camera = name.partition(" ")
        match before:
            case "history" | "first" if camera:
                return cls(camera, before)
        return cls(name)

    def __str__(self) -> str:
        return self.camera if self.time == "current" else f"{self.time} {self.camera}"


@dataclass(frozen=True)
class Observation:
    """What a robot sees and feels at one control step.

    images: camera name -> uint8 (H, W, 3), RGB, upright. state: float32 (S,), in the units of the robot's spec.
    """

    images: Mapping[str, UInt8[np.ndarray, "H W 3"]]
    state: Float32[np.ndarray, " S"]


@dataclass(frozen=True)
class FrameContext:
    """What is known of a moment of an episode besides its image.

    doing: the subtask in words, '' where none is said. elapsed, since: control steps since the episode and since that
    subtask began.
    """

    instruction: str
    subtask: str = ""
    episode_step: int = 0
    subtask_step: int = 0


@dataclass(frozen=True)
class Candidates:
    """What a policy weighed before it answered: K chunks, by what they were imagined to lead to.

    chosen: index of the one that it answered. scores: float32 (K,), higher is better. images: uint8 (K, H, W, 3), the
    last that was imagined of each. horizon: how many chunks ahead the scores look. doing: the subtask at
    each one's end, '' where none is said. afresh: whether it is one of a policy that was told nothing of what it did.
    """

    selected: int
    scores: Float32[np.ndarray, " K"]
    images: UInt8[np.ndarray, "K H W 3"]
    horizon: int
    subtasks: tuple[str, ...]
    memory_reset: tuple[bool, ...]


@dataclass(frozen=True)
class ActionChunk:
    """What a policy answers: the next n actions and what they are for.

    actions: float32 (n, A) in environment units. subtasks: the consecutive subtasks that the chunk covers, in words
    (empty when the policy says none). subgoal: uint8 (H, W, 3), the imagined primary image after the chunk, when asked.
    execute: how many of the actions to run before acting again, as the policy advises (None: all). candidates: what it
    was chosen from, by a policy that weighs several.
    """

    actions: Float32[np.ndarray, "n A"]
    subtasks: tuple[str, ...] = ()
    subgoal: UInt8[np.ndarray, "H W 3"] | None = None
    replan_steps: int | None = None
    candidates: Candidates | None = None


@dataclass(frozen=True)
class MemoryItem:
    """A finished subtask in words, and the control steps of the episode at which it began and ended."""

    text: str
    start_step: int
    end_step: int


@dataclass(frozen=True)
class PolicyState:
    """Everything a policy carries from one call to the next; explicit, so that one policy serves many episodes.

    seed and step (how often it acted) together decide the sampling noise: the same state and observation give the same
    chunk. time: control steps that it saw. memory: finished subtasks, oldest first; it may be edited, the next call
    reads it. subtasks: the window that was said last, whose first subtask began at control step `began`. first, frames:
    what the primary camera showed when the episode began and in the last steps before now, oldest first, for policies
    that look back.
    """

    instruction: str
    seed: int = 0
    num_calls: int = 0
    env_step: int = 0
    memory: tuple[MemoryItem, ...] = ()
    subtasks: tuple[str, ...] = ()
    subtask_start: int = 0
    first_frame: UInt8[np.ndarray, "H W 3"] | None = None
    frame_history: tuple[UInt8[np.ndarray, "H W 3"], ...] = ()


State = TypeVar("State")


class Policy(Protocol[State]):
    """Anything that acts: a trained model, a scripted expert, a random baseline."""

    def reset(self, instruction: str, *, seed: int = 0) -> State:
        """The state at the start of an episode."""
        ...

    def act(self, observation: Observation, state: State) -> tuple[ActionChunk, State]:
        """The next chunk (n >= 1) and the state to pass to the next call."""
        ...


@runtime_checkable
class ObservingPolicy(Protocol[State]):
    """A policy that also wants to see the steps at which it does not act."""

    def observe(self, observation: Observation, state: State) -> State:
        """Called after every step of a chunk but the last one."""
        ...


@runtime_checkable
class Env(Protocol):
    """A gymnasium environment that says which robot it is.

    Observations are dicts ``{"images": {camera: uint8 (H, W, 3)}, "state": float32 (S,)}``, so that
    ``Observation(**obs)`` holds. ``reset`` puts ``instruction`` (str) into info; ``step`` puts ``success`` (bool)
    there; both may put ``subtask`` (str), what an expert would be doing now, so that a policy's words can be judged.
    ``terminated`` means that the episode is decided (success held, or failed for good), ``truncated`` the
    step limit.
    """

    @property
    def robot_spec(self) -> RobotSpec: ...

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]: ...

    def step(self, action: Float32[np.ndarray, " A"]) -> tuple[dict, float, bool, bool, dict]: ...

    def close(self) -> None: ...


class Recorder(Protocol):
    """Listens to the episode loop: a dataset writer, a video maker, a report."""

    def start(self, seed: int, instruction: str) -> None: ...

    def step(self, observation: Observation, action: np.ndarray, chunk: ActionChunk, offset: int) -> None:
        """Before `action` (A,) is executed; `chunk` is the chunk in force and `offset` the action's place in it."""
        ...

    def end(self, observation: Observation, outcome: Outcome) -> None:
        """After the last step, with the final observation."""
        ...
