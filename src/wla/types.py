"""The vocabulary of the package. Read this first.

Letters in shapes: B batch, H W image, S state dimensions, A action dimensions, n chunk length, T tokens,
Q meta-queries, D width. Units and frames of states and actions are written down in a `wla.specs.RobotSpec`, never
assumed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Float32, UInt8

from wla.hardware import Precision as Precision
from wla.specs import ImageFit as ImageFit
from wla.specs import RobotSpec

Outcome = Literal["success", "failure", "error"]

IGNORE_INDEX = -100
"""Label of a token that no text is learned from."""

ImageTime = Literal["current", "history", "history2", "history3", "first"]
"""Now, or one, two or three times the history distance of the prompts before, or the first step of the episode."""


@dataclass(frozen=True)
class ImageKey:
    """A camera and the time of its image: the current step, some steps before it, or the first step of the episode.

    Configurations of models and batches use the string form as key: `front`, `history front` (`history2 front` is as
    many steps before that again), `first front`. A camera
    whose own name begins with one of these words has its current images under `current first person`.
    """

    camera: str
    time: ImageTime = "current"

    @classmethod
    def parse(cls, name: str) -> ImageKey:
        """The inverse of `str`."""
        before, _, camera = name.partition(" ")
        match before:
            case "current" | "history" | "history2" | "history3" | "first" if camera:
                return cls(camera, before)
        return cls(name)

    @property
    def past(self) -> int:
        """How many times the history distance the image is before now; 0 for the current and the first one."""
        return {"history": 1, "history2": 2, "history3": 3}.get(self.time, 0)

    def __str__(self) -> str:
        plain = self.time == "current" and self.parse(self.camera).camera == self.camera
        return self.camera if plain else f"{self.time} {self.camera}"


def image_name_hint(cameras: Iterable[str]) -> str:
    """The end of a message about unknown cameras: the image name of one that is called otherwise; '' without any."""
    for camera in cameras:
        if (name := str(ImageKey(camera))) != camera:
            return f"; a model has the images of {camera!r} as {name!r}"
    return ""


@dataclass(frozen=True)
class Observation:
    """Camera images and robot state at one control step.

    images: camera name -> uint8 (H, W, 3), RGB, upright. state: float32 (S,), in the units of the robot's spec.
    """

    images: Mapping[str, UInt8[np.ndarray, "H W 3"]]
    state: Float32[np.ndarray, " S"]


@dataclass(frozen=True)
class FrameContext:
    """What is known of a frame of an episode besides its image.

    subtask: '' where there is none. episode_step, subtask_step: control steps since the episode and since that subtask
    began.
    """

    instruction: str
    subtask: str = ""
    episode_step: int = 0
    subtask_step: int = 0


@dataclass(frozen=True)
class Candidates:
    """The K chunks that a policy chose from, and their predicted outcomes.

    selected: index of the chunk that it returned. scores: float32 (K,), higher is better. images: uint8 (K, H, W, 3),
    the last predicted image of each. horizon: how many chunks ahead the scores look. subtasks: the subtask at the end
    of each chunk, '' where there is none. memory_reset: whether the chunk was sampled with an empty memory.
    """

    selected: int
    scores: Float32[np.ndarray, " K"]
    images: UInt8[np.ndarray, "K H W 3"]
    horizon: int
    subtasks: tuple[str, ...]
    memory_reset: tuple[bool, ...]


@dataclass(frozen=True)
class StepTiming:
    """How an action reached the robot in time.

    stale: no action was there for the step, the robot held. border: the first action that is executed of a chunk, the
    episode's first chunk excepted.
    """

    stale: bool
    border: bool


@dataclass(frozen=True)
class ActionChunk:
    """The answer of a policy: the next n actions and their purpose.

    actions: float32 (n, A) in environment units. subtasks: the consecutive subtasks that the chunk covers (empty when
    the policy predicts none). subgoal: uint8 (H, W, 3), the predicted primary image after the chunk, when asked for.
    replan_steps: how many of the actions to execute before acting again, as the policy advises (None: all).
    candidates: the chunks that it was chosen from, by a policy that compares several. timing: of its only action, by a
    policy that acts while the next chunk is computed.
    """

    actions: Float32[np.ndarray, "n A"]
    subtasks: tuple[str, ...] = ()
    subgoal: UInt8[np.ndarray, "H W 3"] | None = None
    replan_steps: int | None = None
    candidates: Candidates | None = None
    timing: StepTiming | None = None


@dataclass(frozen=True)
class MemoryItem:
    """A finished subtask, and the control steps of the episode at which it began and ended."""

    text: str
    start_step: int
    end_step: int


@dataclass(frozen=True)
class PolicyState:
    """Everything a policy carries from one call to the next; explicit, so that one policy serves many episodes.

    seed and num_calls (how often it acted) together decide the sampling noise: the same state and observation give the
    same chunk. env_step: control steps that it saw. memory: finished subtasks, oldest first; it may be edited, the next
    call reads it. subtasks: the window that was predicted last, whose first subtask began at control step
    `subtask_start`. first_frame, frame_history: primary images of the first step of the episode and of the last steps
    before the current one, oldest first, for policies that read earlier images.
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

    @property
    def noise_seed(self) -> int:
        """Seed of the noise of the next call."""
        return (self.seed * 1_000_003 + self.num_calls) % 2**63


State = TypeVar("State")


class Policy(Protocol[State]):
    """Anything that acts: a trained model, a scripted expert, a random baseline, one of these behind a wrapper.

    `BasePolicy` has what most of them share. The options of `act` may be left out by a caller; a wrapper passes those
    that it does not know on.
    """

    @property
    def robot_spec(self) -> RobotSpec:
        """The robot that it was made for."""
        ...

    @property
    def checkpoint_sha256(self) -> str | None:
        """Identity of the checkpoint; None for policies without one."""
        ...

    def reset(self, instruction: str, *, seed: int = 0) -> State:
        """The state at the start of an episode."""
        ...

    def act(
        self,
        observation: Observation,
        state: State,
        *,
        imagine: bool = False,
        flow_steps: int | None = None,
        prefix: Float32[np.ndarray, "p A"] | None = None,
        delay: int | None = None,
    ) -> tuple[ActionChunk, State]:
        """The next chunk (n >= 1) and the state to pass to the next call.

        imagine: also the subgoal image. flow_steps: of sampling; None for the policy's own. prefix: actions, in
        environment units, that remain of the chunk that is being executed. delay: how many of these will have been
        executed when the new chunk begins (None: all): it has to begin with them, the others only guide it.
        """
        ...

    def act_batch(
        self,
        observations: Sequence[Observation],
        states: Sequence[State],
        *,
        imagine: bool = False,
        flow_steps: int | None = None,
        prefix: Float32[np.ndarray, "B p A"] | None = None,
        delay: int | None = None,
    ) -> list[tuple[ActionChunk, State]]:
        """The answers of `act` for several episodes, a row each."""
        ...

    def observe(self, observation: Observation, state: State) -> State:
        """The state after a step without acting: called after every step of a chunk but the last one."""
        ...


class BasePolicy(Generic[State]):
    """A policy without a checkpoint that ignores the steps at which it does not act, and acts row by row in a batch.

    reads_images: whether `act` looks at images; a scripted expert may do without.
    """

    robot_spec: RobotSpec
    checkpoint_sha256: str | None = None
    reads_images: bool = True

    def reset(self, instruction: str, *, seed: int = 0) -> State:
        raise NotImplementedError

    def act(self, observation: Observation, state: State, **options: Any) -> tuple[ActionChunk, State]:
        raise NotImplementedError

    def act_batch(
        self,
        observations: Sequence[Observation],
        states: Sequence[State],
        *,
        prefix: Float32[np.ndarray, "B p A"] | None = None,
        **options: Any,
    ) -> list[tuple[ActionChunk, State]]:
        rows = [options] * len(states) if prefix is None else [{**options, "prefix": own} for own in prefix]
        return [
            self.act(observation, state, **row)
            for observation, state, row in zip(observations, states, rows, strict=True)
        ]

    def observe(self, observation: Observation, state: State) -> State:
        return state


@runtime_checkable
class Env(Protocol):
    """A gymnasium environment that states its robot.

    Observations are dicts ``{"images": {camera: uint8 (H, W, 3)}, "state": float32 (S,)}``, so that
    ``Observation(**obs)`` holds. ``reset`` puts ``instruction`` (str) into info; ``step`` puts ``success`` (bool)
    there; both may put ``subtask`` (str), the subtask of an expert at that moment, to compare a policy's subtasks with.
    ``step`` may put ``held`` (bool) there, whether the goal was held, where ``success`` is a benchmark's own rule that
    does not ask for it.
    ``terminated`` means that the episode is decided (success held, or failed for good), ``truncated`` the
    step limit.

    Rendering takes most of the time of many simulators. One with an attribute ``images_wanted`` (bool, True) may leave
    the images out of the observations of ``step`` while it is False: nobody looks at them.
    """

    @property
    def robot_spec(self) -> RobotSpec: ...

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]: ...

    def step(self, action: Float32[np.ndarray, " A"]) -> tuple[dict, float, bool, bool, dict]: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class StepResult:
    """What the environment returned for one action.

    expert: the chunk of an expert at the observation before the action, where the environment gives it.
    """

    reward: float
    terminated: bool
    truncated: bool
    success: bool
    expert: ActionChunk | None = None


class Recorder(Protocol):
    """Listens to the episode loop: a dataset writer, a video maker, a report.

    One with an attribute ``reads_images`` that is False does without the images of the steps between two calls.
    """

    def start(self, seed: int, instruction: str) -> None: ...

    def step(
        self, observation: Observation, action: np.ndarray, chunk: ActionChunk, offset: int, result: StepResult | None
    ) -> None:
        """After `action` (A,) was executed at `observation`; None for the result where that crashed.

        chunk: the chunk in force. offset: index of the action in it.
        """
        ...

    def end(self, observation: Observation, outcome: Outcome) -> None:
        """After the last step, with the final observation."""
        ...
