"""Action Expert of `nano-tabletop`, by reinforcement learning in the simulator on `stack`; subtasks and images stay.

Command:  wla train nano_tabletop_rl --out outputs/nano_tabletop_rl
Needs:    nothing recorded

Hardware: 2 CPU cores. Time: 53 minutes. Score: docs/results/rl.md.

PPO with episodes of many scenes. With groups of episodes of the same scene instead: objective.kind=grpo groups=8
group_size=8, or objective.kind=nft, which needs no stochastic steps and bears loop.optim.learning_rate=1e-4.
With a reward for few flow steps, after LightningRL, for these two: `speed={}`.
"""

from wla.training import OptimConfig, PPOConfig, RLLoopConfig, RLTrainConfig


def config() -> RLTrainConfig:
    return RLTrainConfig(
        policy="nano-tabletop",
        tasks=("stack",),
        setting=("clean", "randomized"),
        groups=32,
        group_size=2,
        objective=PPOConfig(noise_level=0.25),
        anchor_weight=0.1,
        epochs=3,
        num_envs=16,
        validation_episodes=50,
        loop=RLLoopConfig(
            optim=OptimConfig(steps=150, learning_rate=3e-5, final_learning_rate=1e-5, warmup=2, weight_decay=0.0),
            batch_size=256,
            save_every=5,
            log_every=1,
            validation_every=15,
        ),
    )
