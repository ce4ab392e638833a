"""A model whose backbone and Action Expert run compiled functions, with the methods and answers of the reference.

What the functions do not cover is computed by the reference, and named once.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from functools import lru_cache, partial

from jaxtyping import Float, Int64
from torch import Tensor, nn

from wla.models.backbones.nano import NanoBackbone
from wla.models.experts.action_expert import ActionExpert, is_own, repeat
from wla.models.inference.compiled_reading import CompiledBackbone, CompiledDrafter
from wla.models.inference.image_features import Function
from wla.models.inference.limits import Limits
from wla.models.inference.sampling import cross_blocks, time_biases
from wla.models.realtime_chunking import times_after
from wla.models.wla import WLA

KEPT_TIMES = 256
"""Times of steps, with what is given at them, whose part of a step is kept: 1.3 MB at a width of 128."""


class CompiledActionExpert(nn.Module):
    """Sampling by two compiled functions: what all steps share, and the velocity of a step."""

    def __init__(self, reference: ActionExpert, start: Function, velocity: Function) -> None:
        super().__init__()
        self.reference = reference
        self._start, self._velocity = start, velocity
        self._crosses = cross_blocks(reference)
        self._time = lru_cache(maxsize=KEPT_TIMES)(partial(_time_bias, reference))
        self._limits = Limits("actions are sampled")

    def sample(
        self,
        query_hidden: list[Float[Tensor, "B Q C"]],
        state: Float[Tensor, "B S"],
        noise: Float[Tensor, "R n A"],
        num_steps: int | None = None,
        *,
        prefix: Float[Tensor, "B p A"] | None = None,
        delay: int | None = None,
        dims: Int64[Tensor, " B"] | None = None,
    ) -> Float[Tensor, "R n A"]:
        """See `ActionExpert.sample`."""
        reference = self.reference
        if not self._limits.hold(rows=len(noise)):
            return reference.sample(query_hidden, state, noise, num_steps, prefix=prefix, delay=delay, dims=dims)
        repeats, steps = len(noise) // len(state), num_steps or reference.config.flow_steps
        layers = query_hidden[-len(reference.blocks) :]
        condition = self._start(reference.state_input(state), *(layers[index] for index in self._crosses))
        if repeats > 1:
            condition = [repeat(tensor, repeats) for tensor in condition]
        own = noise.new_ones(len(noise), 1, noise.shape[2]) if dims is None else repeat(is_own(dims, noise), repeats)

        def velocity(x: Float[Tensor, "R n A"], t: float, given: int) -> Float[Tensor, "R n A"]:
            (moved,) = self._velocity(x, self._time(t, given, steps == 1), own, *condition)
            return moved

        return reference.integrate(velocity, noise * own, steps, prefix, delay)


def _time_bias(expert: ActionExpert, t: float, given: int, one_step: bool) -> Float[Tensor, "n D"]:
    """The time's part of a step, of which the first `given` actions are given."""
    times = times_after(given, t, expert.config.chunk)
    return time_biases(expert, expert.time_features(times, one_step=one_step))


def with_functions(model: WLA, functions: Mapping[str, Function]) -> WLA:
    """A model that shares all weights with `model` and runs these functions. Those of the backbone may be missing."""
    fast = copy(model)
    fast._modules = dict(model._modules)
    if "read_prompt" in functions:
        assert isinstance(model.backbone, NanoBackbone), "no other has functions"
        fast._modules["backbone"] = CompiledBackbone(model.backbone, functions)
        if model.drafter is not None:
            fast._modules["drafter"] = CompiledDrafter(model.drafter, functions["read_masks"])
    fast._modules["action_expert"] = CompiledActionExpert(
        model.action_expert, functions["start_sampling"], functions["action_velocity"]
    )
    return fast
