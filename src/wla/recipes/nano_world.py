"""World Expert of `nano-tabletop`, fine-tuned: better subgoal images, the same subtasks and actions.

Command:  wla train nano_world --out outputs/nano_world
Needs:    outputs/nano_tabletop/checkpoint and datasets/nano_tabletop (see nano_tabletop)
"""

from wla.data import DatasetConfig
from wla.presets import NANO_WORLD_MATRICES
from wla.training import LoopConfig, OptimConfig, WorldModelTrainConfig


def config() -> WorldModelTrainConfig:
    return WorldModelTrainConfig(
        policy="outputs/nano_tabletop/checkpoint",
        datasets=(DatasetConfig(path="datasets/nano_tabletop"),),
        timestep_shift=10.0,
        flow_steps=1,
        action_condition_dropout=0.5,
        loop=LoopConfig(
            optim=OptimConfig(
                steps=1200,
                learning_rate=1e-3,
                final_learning_rate=2e-5,
                warmup=50,
                weight_decay=0.01,
                muon=NANO_WORLD_MATRICES,
            ),
            batch_size=32,
        ),
    )
