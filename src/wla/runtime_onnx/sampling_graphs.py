"""The sampling of actions as functions of tensors, to be traced: what all steps share, and a step."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.export import Dim

from wla.models.experts.action_expert import ActionExpert
from wla.models.inference.examples import MAX_ROWS, Example, start_sampling_example, velocity_example
from wla.models.inference.sampling import ActionVelocity
from wla.models.wla import WLA


class SampleStep(nn.Module):
    """One Euler step; all actions are at the same time."""

    def __init__(self, expert: ActionExpert) -> None:
        super().__init__()
        self.velocity = ActionVelocity(expert)

    def forward(
        self,
        x: Float[Tensor, "R n A"],
        time: Float[Tensor, " D"],
        size: Float[Tensor, ""],
        own: Float[Tensor, "R 1 A"],
        state: Float[Tensor, "R 1 D"],
        *condition: Tensor,
    ) -> list[Tensor]:
        """Returns x after a step of `size`; the others are those of `ActionVelocity`."""
        (moved,) = self.velocity(x, time, own, state, *condition)
        return [x + moved * size]


def sampling_examples(model: WLA) -> dict[str, Example]:
    """An example for each function."""
    rows = Dim("rows", min=1, max=MAX_ROWS)
    velocity = velocity_example(model, rows)
    x, times, *others = velocity.tensors
    first, *free = velocity.free
    step = Example((x, times[0], torch.tensor(1.0), *others), (first, {}, *free))
    return {"start_sampling": start_sampling_example(model, rows), "sample_step": step}
