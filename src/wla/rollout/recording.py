"""An episode kept in memory, to be written by another process or looked at afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from wla.specs import RobotSpec
from wla.types import ActionChunk, Observation, Outcome, Recorder, StepResult


@dataclass(frozen=True)
class Step:
    """One executed action (A,), the observation before it, the chunk in force, the index of the action in the chunk,
    and what the environment returned (None: it crashed)."""

    observation: Observation
    action: np.ndarray
    chunk: ActionChunk
    offset: int
    result: StepResult | None


@dataclass
class Recording:
    """A `Recorder` that keeps one episode. Pickles, so that environment processes can return episodes.

    steps has one entry per executed action (in an episode that crashed, also the action that crashed); last is the
    observation after them. reads_images: whether it keeps the images. latencies: seconds of each call of the policy, as
    the episode waited for them; whoever runs the episode fills them in.
    """

    robot_spec: RobotSpec
    reads_images: bool = True
    seed: int = 0
    instruction: str = ""
    steps: list[Step] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    last: Observation | None = None
    outcome: Outcome | None = None

    def start(self, seed: int, instruction: str) -> None:
        self.seed, self.instruction = seed, instruction
        self.steps, self.latencies, self.last, self.outcome = [], [], None, None

    def step(
        self, observation: Observation, action: np.ndarray, chunk: ActionChunk, offset: int, result: StepResult | None
    ) -> None:
        self.steps.append(Step(self._kept(observation), action, chunk, offset, result))

    def end(self, observation: Observation, outcome: Outcome) -> None:
        self.last, self.outcome = self._kept(observation), outcome

    def replay(self, recorder: Recorder) -> None:
        """Pass a finished episode to another recorder."""
        if self.last is None or self.outcome is None:
            raise ValueError("only a finished episode can be replayed")
        recorder.start(self.seed, self.instruction)
        for step in self.steps:
            recorder.step(step.observation, step.action, step.chunk, step.offset, step.result)
        recorder.end(self.last, self.outcome)

    def _kept(self, observation: Observation) -> Observation:
        return observation if self.reads_images else replace(observation, images={})
