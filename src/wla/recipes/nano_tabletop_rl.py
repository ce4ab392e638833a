"""Action Expert of `nano-tabletop`, by reinforcement learning in the simulator; subtasks and images stay.

Command:  wla train nano_tabletop_rl --out outputs/nano_tabletop_rl
Needs:    nothing recorded
Score:    not measured: it was not run to its end
"""

from wla.training import GRPOConfig, LoopConfig, OptimConfig, RLTrainConfig


def config() -> RLTrainConfig:
    return RLTrainConfig(
        policy="nano-tabletop",
        tasks=("stack",),
        setting=("clean", "randomized"),
        groups=8,
        group_size=8,
        grpo=GRPOConfig(noise_level=0.5, kl_weight=0.01),
        epochs=2,
        num_envs=16,
        validation_episodes=25,
        loop=LoopConfig(
            optim=OptimConfig(steps=100, learning_rate=5e-5, final_learning_rate=1e-5, warmup=2, weight_decay=0.0),
            batch_size=256,
            save_every=5,
            log_every=1,
            validation_every=10,
        ),
    )
