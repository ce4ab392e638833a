"""World Expert of `nano-memory`, fine-tuned: conditioned on the positions that actions reach, pixel loss.

Commands, with COLLECT for `wla collect --no-perturb --num-envs 2` and MEMORY for
`--tasks press_count cover_blocks battery_try rank_try`:
    COLLECT --episodes 100 --setting clean randomized --out datasets/nano_world/short
    COLLECT --episodes 150 MEMORY --out datasets/nano_world/memory
    wla train nano_memory_images --out outputs/nano_memory_images
Fine-tuned from nano_memory_world, whose expert episodes can be used as well, and on the rollouts of nano_value (half of
the short ones by the policy alone existed). Without nano_memory_world, policy=nano-memory starts from the bundled World
Expert.

With one flow matching step, the tool was imagined half a pixel from its true position. The position follows from state
and actions, and Fourier features encode it more finely than the numbers themselves. The pixel loss weights an error of
the latent by its effect on the image.

Hardware: 2 CPU cores with bf16. Time: 3 + 91 minutes. Score: docs/results/world.md.
"""

from wla.data import DatasetConfig
from wla.recipes import nano_world
from wla.training import WorldModelTrainConfig


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
