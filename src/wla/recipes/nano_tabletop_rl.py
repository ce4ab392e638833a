"""Action Expert of `nano-tabletop`, by reinforcement learning in the simulator on `stack`; subtasks and images stay.

Command:  wla train nano_tabletop_rl --out outputs/nano_tabletop_rl
Needs:    nothing recorded
Score:    nothing gained yet (docs/notebook/reinforcement_learning.md)

GRPO instead of NFT: objective.kind=grpo loop.optim.learning_rate=5e-5 loop.optim.final_learning_rate=1e-5. PPO in the
same way. With a reward for few flow steps, after LightningRL: `speed={}`.
"""

from wla.training import NFTConfig, OptimConfig, RLLoopConfig, RLTrainConfig


def config() -> RLTrainConfig:
    return RLTrainConfig(
        policy="nano-tabletop",
        tasks=("stack",),
        setting=("clean", "randomized"),
        groups=8,
        group_size=8,
        objective=NFTConfig(),
        anchor_weight=0.1,
        epochs=2,
        num_envs=16,
        validation_episodes=100,
        loop=RLLoopConfig(
            optim=OptimConfig(steps=100, learning_rate=1e-4, final_learning_rate=2e-5, warmup=2, weight_decay=0.0),
            batch_size=256,
            save_every=5,
            log_every=1,
            validation_every=10,
        ),
    )
