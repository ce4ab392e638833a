"""Inverse dynamics of the gantry: three frames of both cameras -> the action, trained on five short tasks.

Commands:
    wla train nano_inverse --out outputs/nano_inverse
    wla data label-actions outputs/nano_inverse/checkpoint --dataset datasets/nano_video/gantry \
        --out outputs/gantry_actions.parquet
Needs:    the datasets of nano_video (see there)

Hardware: 2 CPU cores with bf16. Time: 16 minutes on one core. Score: docs/results/world.md.
"""

from wla.training import InverseDynamicsTrainConfig, LoopConfig, OptimConfig


def config() -> InverseDynamicsTrainConfig:
    return InverseDynamicsTrainConfig(
        cameras={"front": 96, "wrist": 48},
        datasets=("datasets/nano_seen",),
        loop=LoopConfig(
            optim=OptimConfig(steps=2500, learning_rate=2e-3, final_learning_rate=2e-5, warmup=100, weight_decay=0.01),
            batch_size=64,
        ),
    )
