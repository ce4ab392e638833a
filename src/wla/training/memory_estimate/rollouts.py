"""What a recipe of reinforcement learning needs: the policy, copies of its Action Expert, and an update's rollouts.

An update keeps what each call of the policy sampled and the states that it was sampled from, so that no pass over the
calls runs the backbone again. At full size that is most of the memory.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from wla.models.configs import WLAConfig
from wla.training.memory_estimate.activations import FLOAT32_BYTES, Kernels
from wla.training.memory_estimate.estimate import RESERVE, MemoryParts
from wla.training.memory_estimate.saved_activations import SavedActivations
from wla.training.memory_estimate.suggestions import memory_rows
from wla.training.memory_estimate.workload import Sizes, Workload
from wla.training.rl.configs import NFTConfig, RLTrainConfig

ALL_BUT_ACTION_EXPERT = (r"^(?!action_expert\.)",)
COPIES = 2
"""Of the Action Expert: as training began, and as it acted."""
INDEX_BYTES = 8
"""Bytes of a number that counts steps."""
LABELS = {
    "weights": "weights of the policy, float32",
    "copies": "the Action Expert as it began, as it acted",
    "optimizer_state": "gradients and moments of the optimiser",
    "rollouts": "rollouts of an update",
    "activations": "activations of a minibatch",
}


@dataclass(frozen=True)
class RolloutMemory(MemoryParts):
    """Bytes of the process that learns, environments not counted."""

    weights: int
    copies: int
    optimizer_state: int
    rollouts: int
    activations: int


def call_bytes(model: WLAConfig) -> int:
    """What a call of the policy leaves: query states of the layers that the Action Expert reads, proprioception, four
    chunks of its trajectory, two numbers of steps."""
    expert = model.action_expert
    states = expert.layers * model.queries.count * model.backbone.text_sizes.width
    chunks = 4 * expert.chunk * expert.action_dim
    return FLOAT32_BYTES * (states + expert.state_dim + chunks) + 2 * INDEX_BYTES


def rollout_memory(config: RLTrainConfig, model: WLAConfig, calls: int) -> RolloutMemory:
    """calls: of the policy in an episode."""
    samples = config.objective.noise_samples_per_chunk if isinstance(config.objective, NFTConfig) else 1
    expert = model.action_expert.replace(noise_samples_per_chunk=samples)
    work = Workload(
        model=model.replace(action_expert=expert), samples=config.loop.batch_size, freeze=ALL_BUT_ACTION_EXPERT
    )
    sizes = Sizes(work)
    trained = FLOAT32_BYTES * sum(sizes.trained.values())
    # The calls that are learned from are copied: at most all of them.
    kept = 2 * config.groups * config.group_size * calls * call_bytes(model)
    return RolloutMemory(
        weights=FLOAT32_BYTES * sum(sizes.numel.values()),
        copies=COPIES * trained,
        optimizer_state=3 * trained,
        rollouts=kept,
        activations=SavedActivations(work, sizes, Kernels(autocast=False)).parts["Action Expert"],
    )


def rollout_report(name: str, config: RLTrainConfig, model: WLAConfig, *, calls: int, gpu: float) -> str:
    """All that `wla estimate` prints. gpu: GB of one, 10^9 bytes each."""
    memory = rollout_memory(config, model, calls)
    episodes = config.groups * config.group_size
    rows = [(LABELS[field.name], getattr(memory, field.name)) for field in fields(memory)]
    fits = memory.total <= gpu * 10**9
    lines = [
        f"{name}: updates of {episodes} episodes, {calls} calls each, minibatches of {config.loop.batch_size}; "
        f"environments have {config.num_envs} processes of their own. GB",
        *memory_rows([*rows, ("CUDA and gaps (allowance)", RESERVE), ("all", memory.total)]),
        f"{'fits' if fits else 'DOES NOT FIT'} on a GPU of {gpu:g} GB",
    ]
    if not fits:
        lines.append(
            f"each call keeps {call_bytes(model) / 1e6:.3g} MB: lower groups or group_size (and loop.batch_size)"
        )
    return "\n".join(lines)
