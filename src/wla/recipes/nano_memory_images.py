"""The World Expert of `nano-memory`, further: told where actions lead, and taught by the images that latents decode to.

Commands, with COLLECT for `wla collect --no-perturb --workers 2` and MEMORY for
`--tasks press_count cover_blocks battery_try rank_try`:
    COLLECT --episodes 100 --setting clean randomized --out datasets/nano_world/short
    COLLECT --episodes 150 MEMORY --out datasets/nano_world/memory
    wla train nano_memory_images --out outputs/nano_memory_images
It goes on from nano_memory_world, whose episodes of experts serve as well, and also learns from the rollouts
of nano_value (of the short ones by the policy alone, half were there). Without the first,
policy=nano-memory goes on from the bundled World Expert.

In one step the tool was imagined half a pixel off. Where it will be follows from the state and the actions, and waves
say so more finely than the numbers themselves. An error of the latent counts as much as it is seen in the image.

Hardware: 2 CPU cores with bf16. Time: 3 + 91 minutes. Score: docs/results/world.md.
"""

from wla.data.dataset_config import DatasetConfig
from wla.recipes import nano_world
from wla.training.objectives.world_model import WorldModelTrainConfig


def config() -> WorldModelTrainConfig:
    before = nano_world.config()
    weights = {
        "nano_rollouts/short_shared": 0.25,
        "nano_rollouts/memory_shared": 0.25,
        "nano_rollouts/short": 0.05,
        "nano_rollouts/memory": 0.1,
        "nano_world/short": 0.15,
        "nano_world/memory": 0.2,
    }
    optim = before.loop.optim.replace(steps=4400, learning_rate=4e-4, muon_learning_rate=0.008)
    return before.replace(
        policy="outputs/nano_memory_world/checkpoint",
        datasets=tuple(DatasetConfig(path=f"datasets/{name}", weight=weight) for name, weight in weights.items()),
        timestep_shift=100.0,
        num_frequencies=6,
        pixel_loss_weight=20.0,
        action_condition_dropout=0.3,
        loop=before.loop.replace(batch_size=64, optim=optim),
    )
