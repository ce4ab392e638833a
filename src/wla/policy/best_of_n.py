"""Test-time scaling: sample several chunks, imagine what each leads to, run the one that scores best."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol, Self

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image
from pydantic import Field, model_validator

from wla.config import Config
from wla.data.transforms import resize_with_pad
from wla.policy.wla_policy import Encoding, WLAPolicy
from wla.types import ActionChunk, Candidates, FrameContext, Observation, PolicyState

BATCH_SIZE = 4
"""Candidates that are imagined and scored at once; between these the budget is looked at."""


class Scorer(Protocol):
    """Says how good images are for what is to be done: a `wla.policy.value_checkpoint.Value`, or a `GoalImageScorer`."""

    def score(
        self, frame_contexts: Sequence[FrameContext], images: UInt8[np.ndarray, "B H W 3"]
    ) -> Float32[np.ndarray, " B"]:
        """Higher is better. moments: what is known of each image."""
        ...


class GoalImageScorer:
    """Scores by agreement with an image of the goal: the mean difference of levels, times -1."""

    def __init__(self, image: UInt8[np.ndarray, "H W 3"]) -> None:
        self._image = image.astype(np.float32)

    @classmethod
    def from_file(cls, path: Path, side: int) -> GoalImageScorer:
        """The image in a file, resized to `side` x `side` pixels. ValueError when it cannot be read."""
        try:
            image = np.array(Image.open(path).convert("RGB"))
        except (OSError, ValueError) as error:
            raise ValueError(f"{path}: cannot be read as the image of a goal: {error}") from error
        return cls(resize_with_pad(image[None], side, side).numpy()[0])

    def score(
        self, frame_contexts: Sequence[FrameContext], images: UInt8[np.ndarray, "B H W 3"]
    ) -> Float32[np.ndarray, " B"]:
        """ValueError for images of another size than the goal's."""
        if images.shape[1:] != self._image.shape:
            raise ValueError(f"the goal is an image {self._image.shape}, what is imagined {images.shape[1:]}")
        return -np.abs(images.astype(np.float32) - self._image).mean((1, 2, 3))


class BestOfNPolicyConfig(Config):
    """How much to think before acting."""

    num_candidates: int = Field(default=4, ge=1)
    """Chunks to choose from; the first is the one that the policy alone would run."""
    imagination_horizon: int = Field(default=1, ge=1)
    """How many chunks ahead to look: beyond the first, the policy goes on from what it imagined."""
    memory_reset: bool = False
    """Half of the candidates are those of a policy that is told nothing of what it did and said: one that takes a
    subtask to be done never tries it again."""
    selection_margin: float = Field(default=0.0, ge=0)
    """By how much a score must exceed the first candidate's for another one to be run: scores are guesses."""
    action_conditioning: bool = True
    """Condition the World Expert on each candidate's actions, where it reads actions. Without, each candidate's outcome
    is imagined from noise of its own, and nothing ties the image to the candidate."""
    time_budget_ms: float | None = Field(default=None, gt=0)
    """Time for a call, looked at between groups of candidates; when it is over, the best so far is run. Over before any
    candidate was imagined, it leaves the chunk that the policy alone would run, and a warning."""

    @model_validator(mode="after")
    def _check_even(self) -> Self:
        if self.memory_reset and self.num_candidates % 2:
            raise ValueError(f"candidates {self.num_candidates}: half of them begin afresh; make it an even number")
        return self


class BestOfNPolicy:
    """A `wla.types.Policy` that weighs what another one proposes.

    A World Expert that reads actions is told each candidate's. One that does not (the published kind) imagines each
    candidate's outcome from another noise, and nothing ties the image to the candidate.
    """

    def __init__(
        self,
        policy: WLAPolicy,
        scorer: Scorer,
        config: BestOfNPolicyConfig,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """ValueError for a policy that was loaded without imagination."""
        if policy.imagination is None:
            raise ValueError("weighing candidates needs imagination; use load_policy(..., imagination=True)")
        self._policy, self._scorer, self._config, self._clock = policy, scorer, config, clock
        self.robot_spec = policy.robot_spec
        self.checkpoint_sha256 = policy.checkpoint_sha256
        self._action_conditioned = policy.action_conditioned and config.action_conditioning

    def reset(self, instruction: str, *, seed: int = 0) -> PolicyState:
        return self._policy.reset(instruction, seed=seed)

    def observe(self, observation: Observation, state: PolicyState) -> PolicyState:
        return self._policy.observe(observation, state)

    def act(
        self,
        observation: Observation,
        state: PolicyState,
        *,
        imagine: bool = False,
        num_candidates: int | None = None,
        imagination_horizon: int | None = None,
    ) -> tuple[ActionChunk, PolicyState]:
        """The best of several chunks, with what it was imagined to lead to (asked for or not, if time allows).

        candidates, horizon: in place of those of the configuration, and checked as these are.
        """
        instead = {"num_candidates": num_candidates, "imagination_horizon": imagination_horizon}
        given = {name: number for name, number in instead.items() if number is not None}
        config = BestOfNPolicyConfig(**{**self._config.model_dump(), **given}) if given else self._config
        deadline = None if config.time_budget_ms is None else self._clock() + config.time_budget_ms / 1000
        states = self._memory_variants(state)
        encoding = self._policy.encode([observation] * len(states), states)
        actions = self._policy.sample_actions(encoding, config.num_candidates // len(states))
        if self._out_of_time(deadline):
            warnings.warn(
                f"time_budget_ms {config.time_budget_ms:g} is over before a candidate is imagined: the policy acts as it would "
                "alone; allow more time",
                stacklevel=2,
            )
            chunk = self._policy.chunk(encoding, 0, actions[0, 0])
            return chunk, self._policy.advance_state(chunk.subtasks, observation, state)
        images = self._imagine(encoding, actions, deadline)
        num_per_variant = images.shape[1]
        further = images.reshape(-1, *images.shape[2:])
        frame_contexts = self._frame_contexts(encoding, [state] * len(states), num_per_variant)
        weighed = Candidates(
            *self._best(frame_contexts, further),
            images=further,
            horizon=1,
            subtasks=tuple(moment.subtask for moment in frame_contexts),
            memory_reset=tuple(row > 0 for row in range(len(states)) for _ in range(num_per_variant)),
        )
        words = [self._policy.subtasks(encoding, row) for row in range(len(states))]
        after = [
            self._policy.advance_state(said, observation, reading) for said, reading in zip(words, states, strict=True)
        ]
        for depth in range(2, config.imagination_horizon + 1):
            if self._out_of_time(deadline):
                break
            then = state.env_step + (depth - 1) * self._policy.chunk_size
            later = [
                replace(one, num_calls=one.num_calls + depth - 2, env_step=then)
                for one in after
                for _ in range(num_per_variant)
            ]
            lasting = [self._policy.advance_state(said, observation, state) for said in words]
            original_states = [replace(one, env_step=then) for one in lasting for _ in range(num_per_variant)]
            further, frame_contexts = self._imagine_next(observation, later, original_states, further)
            if self._out_of_time(deadline):
                break  # a depth that was not finished in time is dropped
            chosen, scores = self._best(frame_contexts, further)
            weighed = replace(weighed, selected=chosen, scores=scores, images=further, horizon=depth)
        row, column = divmod(weighed.selected, num_per_variant)
        chunk = self._policy.chunk(encoding, row, actions[row, column])
        return replace(chunk, subgoal=images[row, column], candidates=weighed), after[row]

    def _memory_variants(self, state: PolicyState) -> list[PolicyState]:
        """The state, and where there is something to forget and that is asked for, one in which it is forgotten."""
        if not self._config.memory_reset or not (state.memory or state.subtasks):
            return [state]
        return [state, self._policy.with_memory(state, memory=(), window=())]

    def _imagine(
        self, encoding: Encoding, actions: Float32[np.ndarray, "R K n A"], deadline: float | None
    ) -> UInt8[np.ndarray, "R N H W 3"]:
        """What each candidate of each reading leads to; of those that no time is left for, nothing.

        Tied ones share one noise, so that nothing but the actions tells their images apart.
        """
        images: list[UInt8[np.ndarray, "R k H W 3"]] = []
        together = BATCH_SIZE // len(actions)
        for start in range(0, actions.shape[1], together):
            if images and self._out_of_time(deadline):
                break
            group = actions[:, start : start + together]
            if self._action_conditioned:
                found = self._policy.predict_images(encoding, samples=group.shape[1], actions=group, shared_noise=True)
            else:
                found = self._policy.predict_images(encoding, samples=group.shape[1], noise_offset=start)
            images.append(found)
        return np.concatenate(images, axis=1)

    def _frame_contexts(
        self, encoding: Encoding, original_states: Sequence[PolicyState], num_per_variant: int
    ) -> list[FrameContext]:
        """For each of so many candidates of each reading, the end of its chunk.

        before: the states whose words may go on, of a policy that has not forgotten them.
        """
        chunk = self._policy.chunk_size
        found = []
        for row, state in enumerate(original_states):
            doing = self._policy.subtasks(encoding, row)[-1:]
            # What is not running yet begins somewhere in the chunk.
            since = state.env_step - state.subtask_start + chunk if doing == state.subtasks[:1] else chunk // 2
            moment = FrameContext(state.instruction, "".join(doing), state.env_step + chunk, since)
            found += [moment] * num_per_variant
        return found

    def _best(
        self, frame_contexts: Sequence[FrameContext], images: UInt8[np.ndarray, "K H W 3"]
    ) -> tuple[int, Float32[np.ndarray, " K"]]:
        """Which one to run, and the scores."""
        scores = self._scorer.score(frame_contexts, images).astype(np.float32)
        best = int(scores.argmax())
        return (best if scores[best] > scores[0] + self._config.selection_margin else 0), scores

    def _imagine_next(
        self,
        observation: Observation,
        states: Sequence[PolicyState],
        original_states: Sequence[PolicyState],
        images: UInt8[np.ndarray, "K H W 3"],
    ) -> tuple[UInt8[np.ndarray, "K H W 3"], list[FrameContext]]:
        """The images after one more chunk, that the policy would run if it saw what it imagined, and their moments.

        Only the primary camera is imagined: the other cameras and the robot's state stay what they are. before: the
        states whose words may go on, as for `_frame_contexts`.
        """
        primary = self._policy.robot_spec.observation.primary_camera
        seen = resize_with_pad(images, *self._policy.robot_spec.observation.cameras[primary]).numpy()
        later = [replace(observation, images={**observation.images, primary: image}) for image in seen]
        encoding = self._policy.encode(later, states)
        actions = self._policy.sample_actions(encoding) if self._action_conditioned else None
        return self._policy.predict_images(encoding, actions=actions)[:, 0], self._frame_contexts(
            encoding, original_states, 1
        )

    def _out_of_time(self, deadline: float | None) -> bool:
        return deadline is not None and self._clock() >= deadline
