"""Action Expert of `nano-memory`, by reinforcement learning on the two memory tasks that fail most; the rest stays.

Command:  wla train nano_memory_rl --out outputs/nano_memory_rl
Needs:    nothing recorded

Hardware: 2 CPU cores. Time: one to two minutes an update. Score: docs/results/rl.md.

As nano_tabletop_rl, in the four steps that the policy acts in.
"""

from wla.recipes import nano_tabletop_rl
from wla.training import PPOConfig, RLTrainConfig


def config() -> RLTrainConfig:
    short = nano_tabletop_rl.config()
    return short.replace(
        policy="nano-memory",
        tasks=("press_count", "rank_try"),
        setting=("clean",),
        objective=PPOConfig(noise_level=0.25, kl_weight=0.002),
        epochs=2,
        validation_episodes=30,
        loop=short.loop.replace(optim=short.loop.optim.replace(steps=45, final_learning_rate=2e-5), batch_size=512),
    )
