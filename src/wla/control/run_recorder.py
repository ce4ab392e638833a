"""Runs on a robot as episodes of a dataset: what was seen, what was really executed, and by whom."""

from __future__ import annotations

from wla.control.async_runner import RunStep
from wla.data.lerobot.writer import DatasetWriter


class RunRecorder:
    """A `RunListener`. Steps at which the robot held are left out: it stood still, and there is nothing to imitate."""

    def __init__(self, writer: DatasetWriter) -> None:
        """writer: with marks of interventions. Its owner closes it."""
        self._writer = writer
        self.frames = 0
        """Frames of the present episode."""

    def step(self, step: RunStep) -> None:
        if step.action is None or step.timing.stale:
            return
        subtasks = () if step.chunk is None else step.chunk.subtasks
        self._writer.add_frame(
            step.observation.images,
            step.observation.state,
            step.action,
            subtasks[0] if subtasks else "",
            intervention=step.taken_over,
        )
        self.frames += 1

    def end(self, instruction: str, *, keep: bool, seed: int | None = None, success: bool | None = None) -> bool:
        """Finishes the episode, or drops it. Returns whether it was kept: one without a frame never is.

        success: None where nobody stated it.
        """
        kept = keep and self.frames > 0
        self.frames = 0
        self._writer.end_episode(instruction, keep=kept, seed=seed, success=success)
        return kept
