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
from wla.data.transforms import fit
from wla.policy.wla_policy import Thought, WLAPolicy
from wla.types import ActionChunk, Candidates, Moment, Observation, PolicyState

TOGETHER = 4
"""Candidates that are imagined and scored at once; between these the budget is looked at."""


class Scorer(Protocol):
    """Says how good images are for what is to be done: a `wla.policy.value_checkpoint.Value`, or a `Goal`."""

    def score(self, moments: Sequence[Moment], images: UInt8[np.ndarray, "B H W 3"]) -> Float32[np.ndarray, " B"]:
        """Higher is better. moments: what is known of each image."""
        ...


class Goal:
    """Scores by agreement with an image of the goal: the mean difference of levels, times -1."""

    def __init__(self, image: UInt8[np.ndarray, "H W 3"]) -> None:
        self._image = image.astype(np.float32)

    @classmethod
    def read(cls, path: Path, side: int) -> Goal:
        """The image in a file, resized to `side` x `side` pixels. ValueError when it cannot be read."""
        try:
            image = np.array(Image.open(path).convert("RGB"))
        except (OSError, ValueError) as error:
            raise ValueError(f"{path}: cannot be read as the image of a goal: {error}") from error
        return cls(fit(image[None], side, side).numpy()[0])

    def score(self, moments: Sequence[Moment], images: UInt8[np.ndarray, "B H W 3"]) -> Float32[np.ndarray, " B"]:
        """ValueError for images of another size than the goal's."""
        if images.shape[1:] != self._image.shape:
            raise ValueError(f"the goal is an image {self._image.shape}, what is imagined {images.shape[1:]}")
        return -np.abs(images.astype(np.float32) - self._image).mean((1, 2, 3))


class ScalingConfig(Config):
    """How much to think before acting."""

    candidates: int = Field(default=4, ge=1)
    """Chunks to choose from; the first is the one that the policy alone would run."""
    horizon: int = Field(default=1, ge=1)
    """How many chunks ahead to look: beyond the first, the policy goes on from what it imagined."""
    afresh: bool = False
    """Half of the candidates are those of a policy that is told nothing of what it did and said: one that takes a
    subtask to be done never tries it again."""
    margin: float = Field(default=0.0, ge=0)
    """By how much a score must exceed the first candidate's for another one to be run: scores are guesses."""
    plain: bool = False
    """Tell the World Expert nothing of the candidates, as if it could not read actions."""
    budget_ms: float | None = Field(default=None, gt=0)
    """Time for a call, looked at between groups of candidates; when it is over, the best so far is run. Over before any
    candidate was imagined, it leaves the chunk that the policy alone would run, and a warning."""

    @model_validator(mode="after")
    def _halves(self) -> Self:
        if self.afresh and self.candidates % 2:
            raise ValueError(f"candidates {self.candidates}: half of them begin afresh; make it an even number")
        return self


class ScaledPolicy:
    """A `wla.types.Policy` that weighs what another one proposes.

    A World Expert that reads actions is told each candidate's. One that does not (the published kind) imagines each
    candidate's outcome from another noise, and nothing ties the image to the candidate.
    """

    def __init__(
        self,
        policy: WLAPolicy,
        scorer: Scorer,
        config: ScalingConfig,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """ValueError for a policy that was loaded without imagination."""
        if policy.model.world_expert is None:
            raise ValueError("weighing candidates needs imagination; use load_policy(..., imagination=True)")
        self._policy, self._scorer, self._config, self._clock = policy, scorer, config, clock
        self.robot_spec = policy.robot_spec
        self.checkpoint_sha256 = policy.checkpoint_sha256
        self._tied = policy.reads_actions and not config.plain

    def reset(self, instruction: str, *, seed: int = 0) -> PolicyState:
        return self._policy.reset(instruction, seed=seed)

    def watch(self, observation: Observation, state: PolicyState) -> PolicyState:
        return self._policy.watch(observation, state)

    def act(
        self,
        observation: Observation,
        state: PolicyState,
        *,
        imagine: bool = False,
        candidates: int | None = None,
        horizon: int | None = None,
    ) -> tuple[ActionChunk, PolicyState]:
        """The best of several chunks, with what it was imagined to lead to (asked for or not, if time allows).

        candidates, horizon: in place of those of the configuration, and checked as these are.
        """
        instead = {"candidates": candidates, "horizon": horizon}
        given = {name: number for name, number in instead.items() if number is not None}
        config = ScalingConfig(**{**self._config.model_dump(), **given}) if given else self._config
        ends = None if config.budget_ms is None else self._clock() + config.budget_ms / 1000
        states = self._readings(state)
        thought = self._policy.think([observation] * len(states), states)
        actions = self._policy.propose(thought, config.candidates // len(states))
        if self._over(ends):
            warnings.warn(
                f"budget_ms {config.budget_ms:g} is over before a candidate is imagined: the policy acts as it would "
                "alone; allow more time",
                stacklevel=2,
            )
            chunk = self._policy.chunk(thought, 0, actions[0, 0])
            return chunk, self._policy.said(chunk.subtasks, observation, state)
        images = self._outcomes(thought, actions, ends)
        each = images.shape[1]
        further = images.reshape(-1, *images.shape[2:])
        moments = self._moments(thought, [state] * len(states), each)
        weighed = Candidates(
            *self._best(moments, further),
            images=further,
            horizon=1,
            doing=tuple(moment.doing for moment in moments),
            afresh=tuple(row > 0 for row in range(len(states)) for _ in range(each)),
        )
        words = [self._policy.subtasks(thought, row) for row in range(len(states))]
        after = [self._policy.said(said, observation, reading) for said, reading in zip(words, states, strict=True)]
        for depth in range(2, config.horizon + 1):
            if self._over(ends):
                break
            then = state.time + (depth - 1) * self._policy.model.config.action_expert.chunk
            later = [replace(one, step=one.step + depth - 2, time=then) for one in after for _ in range(each)]
            lasting = [self._policy.said(said, observation, state) for said in words]
            before = [replace(one, time=then) for one in lasting for _ in range(each)]
            further, moments = self._further(observation, later, before, further)
            if self._over(ends):
                break  # a depth that was not finished in time is dropped
            chosen, scores = self._best(moments, further)
            weighed = replace(weighed, chosen=chosen, scores=scores, images=further, horizon=depth)
        row, column = divmod(weighed.chosen, each)
        chunk = self._policy.chunk(thought, row, actions[row, column])
        return replace(chunk, subgoal=images[row, column], candidates=weighed), after[row]

    def _readings(self, state: PolicyState) -> list[PolicyState]:
        """The state, and where there is something to forget and that is asked for, one in which it is forgotten."""
        if not self._config.afresh or not (state.memory or state.subtasks):
            return [state]
        return [state, self._policy.recall(state, memory=(), window=())]

    def _outcomes(
        self, thought: Thought, actions: Float32[np.ndarray, "R K n A"], ends: float | None
    ) -> UInt8[np.ndarray, "R N H W 3"]:
        """What each candidate of each reading leads to; of those that no time is left for, nothing.

        Tied ones share one noise, so that nothing but the actions tells their images apart.
        """
        images: list[UInt8[np.ndarray, "R k H W 3"]] = []
        together = TOGETHER // len(actions)
        for start in range(0, actions.shape[1], together):
            if images and self._over(ends):
                break
            group = actions[:, start : start + together]
            if self._tied:
                found = self._policy.picture(thought, samples=group.shape[1], actions=group, same_noise=True)
            else:
                found = self._policy.picture(thought, samples=group.shape[1], after=start)
            images.append(found)
        return np.concatenate(images, axis=1)

    def _moments(self, thought: Thought, before: Sequence[PolicyState], each: int) -> list[Moment]:
        """For each of so many candidates of each reading, the end of its chunk.

        before: the states whose words may go on, of a policy that has not forgotten them.
        """
        chunk = self._policy.model.config.action_expert.chunk
        found = []
        for row, state in enumerate(before):
            doing = self._policy.subtasks(thought, row)[-1:]
            # What is not running yet begins somewhere in the chunk.
            since = state.time - state.began + chunk if doing == state.subtasks[:1] else chunk // 2
            moment = Moment(state.instruction, "".join(doing), state.time + chunk, since)
            found += [moment] * each
        return found

    def _best(
        self, moments: Sequence[Moment], images: UInt8[np.ndarray, "K H W 3"]
    ) -> tuple[int, Float32[np.ndarray, " K"]]:
        """Which one to run, and the scores."""
        scores = self._scorer.score(moments, images).astype(np.float32)
        best = int(scores.argmax())
        return (best if scores[best] > scores[0] + self._config.margin else 0), scores

    def _further(
        self,
        observation: Observation,
        states: Sequence[PolicyState],
        before: Sequence[PolicyState],
        images: UInt8[np.ndarray, "K H W 3"],
    ) -> tuple[UInt8[np.ndarray, "K H W 3"], list[Moment]]:
        """The images after one more chunk, that the policy would run if it saw what it imagined, and their moments.

        Only the primary camera is imagined: the other cameras and the robot's state stay what they are. before: the
        states whose words may go on, as for `_moments`.
        """
        primary = self._policy.robot_spec.observation.primary_camera
        seen = fit(images, *self._policy.robot_spec.observation.cameras[primary]).numpy()
        later = [replace(observation, images={**observation.images, primary: image}) for image in seen]
        thought = self._policy.think(later, states)
        actions = self._policy.propose(thought) if self._tied else None
        return self._policy.picture(thought, actions=actions)[:, 0], self._moments(thought, before, 1)

    def _over(self, ends: float | None) -> bool:
        return ends is not None and self._clock() >= ends
