"""Exploration: the policy in training keeps what each of its calls sampled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from wla.models.action_expert_policy import ActionExpertPolicy
from wla.models.backbone_policy import BackboneEncoding
from wla.models.model import require_model
from wla.models.trajectory import ActionEncoding, Trajectory
from wla.policy.wla_policy import WLAPolicy
from wla.policy.wrapper import PolicyWrapper
from wla.rollout.runner import Job
from wla.training.rl.trained import StepChoice
from wla.types import ActionChunk, Observation, PolicyState


class ExploringPolicy(PolicyWrapper[PolicyState]):
    """A policy that samples trajectories and keeps them while it explores, and otherwise acts as ever.

    A call is identified by the seed and the number of calls in its state, so one that is repeated counts once.
    """

    policy: WLAPolicy

    def __init__(self, policy: WLAPolicy, noise_level: float, step_choice: StepChoice | None) -> None:
        super().__init__(policy)
        self._model = require_model(policy.model, ActionExpertPolicy, f"policy {policy.name}")
        self._noise_level = noise_level
        self._step_choice = step_choice
        self._samples: list[tuple[ActionEncoding, Trajectory]] | None = None
        self._rows: dict[tuple[int, int], int] = {}

    @contextmanager
    def exploring(self) -> Iterator[None]:
        """Context in which it explores, and in which its samples can be read."""
        self._samples, self._rows = [], {}
        try:
            yield
        finally:
            self._samples = None

    def samples(self) -> tuple[ActionEncoding, Trajectory]:
        """All calls so far, a row each."""
        assert self._samples, "the policy has acted"
        encodings, trajectories = zip(*self._samples, strict=True)
        return ActionEncoding.cat(encodings), Trajectory.cat(trajectories)

    def rows(self, job: Job, calls: int) -> list[int]:
        """Rows of the calls of an episode."""
        seed = job.seed if job.policy_seed is None else job.policy_seed
        return [self._rows[seed, number] for number in range(calls)]

    def act(self, observation: Observation, state: PolicyState, **options: Any) -> tuple[ActionChunk, PolicyState]:
        return self.act_batch([observation], [state], **options)[0]

    def act_batch(
        self, observations: Sequence[Observation], states: Sequence[PolicyState], **options: Any
    ) -> list[tuple[ActionChunk, PolicyState]]:
        policy = self.policy
        if self._samples is None:
            return policy.act_batch(observations, states, **options)
        with torch.inference_mode():
            encoding = policy.encode(observations, states)
            own = self._model.action_encoding(cast(BackboneEncoding, encoding.model))
            noise = policy.noise(states)[:, 0]
            uniform, step_noise = (drawn.to(policy.device) for drawn in _draws(states, noise))
            num_steps = self._num_steps(uniform[:, 0])
            trajectory = self._model.sample_trajectory(
                own,
                noise=noise.to(policy.device),
                num_steps=num_steps,
                step=(uniform[:, 1] * num_steps).long(),
                step_noise=step_noise,
                noise_level=self._noise_level,
            )
        first = sum(len(kept.actions) for _, kept in self._samples)
        self._rows |= {(state.seed, state.num_calls): first + row for row, state in enumerate(states)}
        self._samples.append((own, trajectory))
        actions = policy.decode_actions(trajectory.actions[:, None], encoding.robot_state)
        chunks = [policy.chunk(encoding, row, actions[row, 0]) for row in range(len(states))]
        return [
            (chunk, policy.advance_state(chunk.subtasks, observation, state))
            for chunk, observation, state in zip(chunks, observations, states, strict=True)
        ]

    def _num_steps(self, uniform: Float32[Tensor, " B"]) -> Int64[Tensor, " B"]:
        """Numbers of flow steps: those of the policy, or drawn from the ones to choose from."""
        if self._step_choice is not None:
            return self._step_choice.draw(uniform)
        own = self.policy.flow_steps or self._model.config.action_expert.flow_steps
        return torch.full(uniform.shape, own, device=uniform.device)


def _draws(
    states: Sequence[PolicyState], noise: Float32[Tensor, "B n A"]
) -> tuple[Float32[Tensor, "B 2"], Float32[Tensor, "B n A"]]:
    """Two numbers in [0, 1) of each call, and the noise of its stochastic step, which follow from the call alone."""
    uniform, noises = [], []
    for state in states:
        generator = torch.Generator().manual_seed(state.noise_seed)
        torch.randn(noise.shape[1:], generator=generator)  # what the chunk starts from: what follows is independent
        uniform.append(torch.rand(2, generator=generator))
        noises.append(torch.randn(noise.shape[1:], generator=generator))
    return torch.stack(uniform), torch.stack(noises)
