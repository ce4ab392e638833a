"""Backbone of `nano-tabletop`: a small embodied vision-language model that locates, counts and compares objects.

Command:  wla train nano_base --out outputs/nano_base
Needs:    datasets/nano_tabletop (see nano_tabletop)
"""

from wla.envs.tabletop.tasks import SHORT_TASKS
from wla.presets import CAMERAS, NANO_MATRICES, PROMPT, nano_backbone
from wla.training import BackboneTrainConfig, LoopConfig, OptimConfig, SceneConfig


def config() -> BackboneTrainConfig:
    return BackboneTrainConfig(
        backbone=nano_backbone(),
        prompt=PROMPT,
        scenes=SceneConfig(tasks=SHORT_TASKS, scenes_per_variant=1000, cameras=CAMERAS),
        scenes_folder="datasets/nano_scenes",
        datasets=("datasets/nano_tabletop",),
        loop=LoopConfig(
            optim=OptimConfig(
                steps=1800,
                learning_rate=1e-3,
                final_learning_rate=2e-4,
                warmup=100,
                weight_decay=0.01,
                muon=NANO_MATRICES,
            ),
            batch_size=64,
        ),
    )
