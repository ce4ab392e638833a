"""A policy around another one. Whatever a wrapper does not override is the inner policy's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wla.types import ActionChunk, BasePolicy, Observation, Policy, State


def observes_images(policy: Policy[Any]) -> bool:
    """Whether a policy looks at the images of the steps at which it does not act; True unless it is known not to."""
    observe = type(policy).observe
    if isinstance(policy, PolicyWrapper) and observe is PolicyWrapper.observe:
        return observes_images(policy.policy)
    return observe is not BasePolicy.observe and bool(getattr(policy, "reads_past_images", True))


class PolicyWrapper(BasePolicy[State]):
    """Delegates everything to `policy`; subclasses change what they need, most often `act`.

    One that changes `act` alone acts row by row in a batch; with an `act_batch` of its own it keeps the batch together.
    """

    def __init__(self, policy: Policy[Any]) -> None:
        self.policy = policy
        self.robot_spec, self.checkpoint_sha256 = policy.robot_spec, policy.checkpoint_sha256

    def reset(self, instruction: str, *, seed: int = 0) -> State:
        return self.policy.reset(instruction, seed=seed)

    def act(self, observation: Observation, state: State, **options: Any) -> tuple[ActionChunk, State]:
        return self.policy.act(observation, state, **options)

    def act_batch(
        self, observations: Sequence[Observation], states: Sequence[State], **options: Any
    ) -> list[tuple[ActionChunk, State]]:
        if type(self).act is PolicyWrapper.act:
            return self.policy.act_batch(observations, states, **options)
        return super().act_batch(observations, states, **options)

    def observe(self, observation: Observation, state: State) -> State:
        return self.policy.observe(observation, state)
