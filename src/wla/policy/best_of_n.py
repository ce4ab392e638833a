"""Best-of-n: sample several chunks, predict the outcome of each, execute the one with the best score."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from jaxtyping import Float32, UInt8
from pydantic import Field, model_validator

from wla.config import Config
from wla.data.images import decode_image
from wla.data.transforms import resize_with_pad
from wla.policy.wla_policy import Encoding, WLAPolicy
from wla.policy.wrapper import PolicyWrapper
from wla.types import ActionChunk, Candidates, FrameContext, Observation, PolicyState

BATCH_SIZE = 4
"""Candidates that are predicted at once where there is a time budget, which is checked between batches; without one all
are."""


class Scorer(Protocol):
    """Scores images for an instruction: a `wla.policy.value_checkpoint.Value`, or a `GoalImageScorer`."""

    def score(
        self, frame_contexts: Sequence[FrameContext], images: UInt8[np.ndarray, "B H W 3"]
    ) -> Float32[np.ndarray, " B"]:
        """Higher is better. frame_contexts: what is known of each image besides its pixels."""
        ...


class GoalImageScorer:
    """Scores by agreement with an image of the goal: the mean difference of levels, times -1."""

    def __init__(self, image: UInt8[np.ndarray, "H W 3"]) -> None:
        self._image = image.astype(np.float32)

    @classmethod
    def from_file(cls, path: Path, side: int) -> GoalImageScorer:
        """The image in a file, resized to `side` x `side` pixels. ValueError when it cannot be read."""
        try:
            image = decode_image(path.read_bytes())
        except (OSError, ValueError) as error:
            raise ValueError(f"{path}: cannot be read as the image of a goal: {error}") from error
        return cls(resize_with_pad(image[None], side, side).numpy()[0])

    def score(
        self, frame_contexts: Sequence[FrameContext], images: UInt8[np.ndarray, "B H W 3"]
    ) -> Float32[np.ndarray, " B"]:
        """ValueError for images of another size than the goal's."""
        if images.shape[1:] != self._image.shape:
            raise ValueError(f"the goal is an image {self._image.shape}, the predicted ones are {images.shape[1:]}")
        return -np.abs(images.astype(np.float32) - self._image).mean((1, 2, 3))


class BestOfNPolicyConfig(Config):
    """Number of candidates, and how they are compared."""

    num_candidates: int = Field(default=4, ge=1)
    """Chunks to choose from; the first is the one that the policy alone would execute."""
    imagination_horizon: int = Field(default=1, ge=1)
    """How many chunks ahead to predict: beyond the first, the policy acts on its predicted image."""
    memory_reset: bool = False
    """Half of the candidates are sampled with an empty memory: a policy that takes a subtask to be finished never tries
    it again."""
    selection_margin: float = Field(default=0.0, ge=0)
    """By how much a score must exceed the first candidate's for another one to be executed: scores are estimates."""
    action_conditioning: bool = True
    """Condition the World Expert on each candidate's actions, where it reads actions. Without, each candidate's outcome
    is predicted from its own noise, and nothing ties the image to the candidate."""
    time_budget_ms: float | None = Field(default=None, gt=0)
    """Time for a call, checked between batches of candidates; when it is over, the best so far is executed. Over before
    any outcome was predicted, it leaves the chunk that the policy alone would execute, and a warning."""

    @model_validator(mode="after")
    def _check_even(self) -> Self:
        if self.memory_reset and self.num_candidates % 2:
            raise ValueError(
                f"candidates {self.num_candidates}: half of them have a memory reset; make it an even number"
            )
        return self


class BestOfNPolicy(PolicyWrapper[PolicyState]):
    """A policy that chooses among several chunks of another one by their predicted outcomes.

    The outcome of each candidate is predicted from its actions, by a World Expert that reads actions. One that does not
    (the published kind) predicts each from another noise, and nothing ties the image to the candidate.
    """

    policy: WLAPolicy

    def __init__(
        self,
        policy: WLAPolicy,
        scorer: Scorer,
        config: BestOfNPolicyConfig,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """ValueError for a policy that was loaded without imagination."""
        if policy.imagination is None:
            raise ValueError("best-of-n needs imagination; use load_policy(..., imagination=True)")
        super().__init__(policy)
        self._scorer, self._config, self._clock = scorer, config, clock
        self._action_conditioned = policy.action_conditioned and config.action_conditioning

    def act(
        self,
        observation: Observation,
        state: PolicyState,
        *,
        num_candidates: int | None = None,
        imagination_horizon: int | None = None,
        **options: Any,
    ) -> tuple[ActionChunk, PolicyState]:
        """The best of several chunks, with its predicted outcome (asked for or not, if time allows).

        num_candidates, imagination_horizon: override those of the configuration, and are validated like these.
        ValueError for flow_steps and prefix, which candidates do not support.
        """
        require_supported(options)
        instead = {"num_candidates": num_candidates, "imagination_horizon": imagination_horizon}
        given = {name: number for name, number in instead.items() if number is not None}
        config = BestOfNPolicyConfig(**{**self._config.model_dump(), **given}) if given else self._config
        deadline = None if config.time_budget_ms is None else self._clock() + config.time_budget_ms / 1000
        states = self._memory_variants(state)
        encoding = self.policy.encode([observation] * len(states), states)
        actions = self.policy.sample_actions(encoding, config.num_candidates // len(states))
        texts = [self.policy.subtasks(encoding, row) for row in range(len(states))]
        after = [
            self.policy.advance_state(text, observation, variant) for text, variant in zip(texts, states, strict=True)
        ]
        if self._out_of_time(deadline):
            warnings.warn(
                f"time_budget_ms {config.time_budget_ms:g} is over before a candidate is imagined: the policy acts as "
                "it would alone; allow more time",
                stacklevel=2,
            )
            return self.policy.chunk(encoding, 0, actions[0, 0]), after[0]
        images = self._imagine(encoding, actions, deadline)
        num_per_variant = images.shape[1]
        candidates = self._score(encoding, [state] * len(states), images)
        for depth in range(2, config.imagination_horizon + 1):
            if self._out_of_time(deadline):
                break
            deeper = self._look_ahead(observation, state, after, candidates, depth)
            if self._out_of_time(deadline):
                break  # a depth that was not finished in time is dropped
            candidates = deeper
        row, column = divmod(candidates.selected, num_per_variant)
        chunk = self.policy.chunk(encoding, row, actions[row, column])
        return replace(chunk, subgoal=images[row, column], candidates=candidates), after[row]

    def _score(
        self, encoding: Encoding, original_states: Sequence[PolicyState], images: UInt8[np.ndarray, "R N H W 3"]
    ) -> Candidates:
        """The candidates of each encoded row, scored by the images after one chunk."""
        num_per_variant = images.shape[1]
        outcomes = images.reshape(-1, *images.shape[2:])
        frame_contexts = self._frame_contexts(encoding, original_states, num_per_variant)
        return Candidates(
            *self._best(frame_contexts, outcomes),
            images=outcomes,
            horizon=1,
            subtasks=tuple(context.subtask for context in frame_contexts),
            memory_reset=tuple(row > 0 for row in range(len(images)) for _ in range(num_per_variant)),
        )

    def _look_ahead(
        self,
        observation: Observation,
        state: PolicyState,
        after: Sequence[PolicyState],
        candidates: Candidates,
        depth: int,
    ) -> Candidates:
        """The candidates scored `depth` chunks ahead. state: before the call. after: that of each memory variant."""
        num_per_variant = len(candidates.images) // len(after)
        then = state.env_step + (depth - 1) * self.policy.chunk_size
        later = [
            replace(one, num_calls=one.num_calls + depth - 2, env_step=then)
            for one in after
            for _ in range(num_per_variant)
        ]
        lasting = [self.policy.advance_state(variant.subtasks, observation, state) for variant in after]
        original_states = [replace(one, env_step=then) for one in lasting for _ in range(num_per_variant)]
        images, frame_contexts = self._imagine_next(observation, later, original_states, candidates.images)
        selected, scores = self._best(frame_contexts, images)
        return replace(candidates, selected=selected, scores=scores, images=images, horizon=depth)

    def _memory_variants(self, state: PolicyState) -> list[PolicyState]:
        """The state; with `memory_reset` and where there is a memory, also the state without it."""
        if not self._config.memory_reset or not (state.memory or state.subtasks):
            return [state]
        return [state, self.policy.with_memory(state, memory=(), window=())]

    def _imagine(
        self, encoding: Encoding, actions: Float32[np.ndarray, "R K n A"], deadline: float | None
    ) -> UInt8[np.ndarray, "R N H W 3"]:
        """Predicted outcomes of the candidates of each row; those beyond the time budget are left out.

        Action-conditioned ones share one noise, so that their images differ by the actions only.
        """
        images: list[UInt8[np.ndarray, "R k H W 3"]] = []
        together = actions.shape[1] if deadline is None else BATCH_SIZE // len(actions)
        for start in range(0, actions.shape[1], together):
            if images and self._out_of_time(deadline):
                break
            group = actions[:, start : start + together]
            if self._action_conditioned:
                found = self.policy.predict_images(encoding, samples=group.shape[1], actions=group, shared_noise=True)
            else:
                found = self.policy.predict_images(encoding, samples=group.shape[1], noise_offset=start)
            images.append(found)
        return np.concatenate(images, axis=1)

    def _frame_contexts(
        self, encoding: Encoding, original_states: Sequence[PolicyState], num_per_variant: int
    ) -> list[FrameContext]:
        """The context at the end of the chunk, for each of `num_per_variant` candidates of each row.

        original_states: states with the memory of the episode, whose last subtask may continue.
        """
        chunk = self.policy.chunk_size
        found = []
        for row, state in enumerate(original_states):
            subtask = self.policy.subtasks(encoding, row)[-1:]
            # What is not running yet begins somewhere in the chunk.
            since = state.env_step - state.subtask_start + chunk if subtask == state.subtasks[:1] else chunk // 2
            frame_context = FrameContext(state.instruction, "".join(subtask), state.env_step + chunk, since)
            found += [frame_context] * num_per_variant
        return found

    def _best(
        self, frame_contexts: Sequence[FrameContext], images: UInt8[np.ndarray, "K H W 3"]
    ) -> tuple[int, Float32[np.ndarray, " K"]]:
        """Index of the candidate to execute, and the scores."""
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
        """The images one more chunk ahead, as if the policy acted on its predicted images, and their contexts.

        Only the primary camera is predicted: the other cameras and the robot's state stay. original_states: as for
        `_frame_contexts`.
        """
        primary = self.policy.primary
        seen = resize_with_pad(images, *self.policy.robot_spec.observation.cameras[primary]).numpy()
        later = [replace(observation, images={**observation.images, primary: image}) for image in seen]
        encoding = self.policy.encode(later, states)
        actions = self.policy.sample_actions(encoding) if self._action_conditioned else None
        return self.policy.predict_images(encoding, actions=actions)[:, 0], self._frame_contexts(
            encoding, original_states, 1
        )

    def _out_of_time(self, deadline: float | None) -> bool:
        return deadline is not None and self._clock() >= deadline


def require_supported(options: dict[str, Any]) -> None:
    """ValueError for options of `act` that a choice among candidates does not take."""
    for name in ("flow_steps", "prefix", "delay"):
        if options.get(name) is not None:
            raise ValueError(f"a policy that chooses among candidates takes no {name}; leave it out")
