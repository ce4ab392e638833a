"""Backbone of `nano-memory`: that of `nano-tabletop`, further pretrained on the objects of the memory tasks.

Command:  wla train nano_memory_base --out outputs/nano_memory_base
Needs:    datasets/nano_memory and datasets/nano_tabletop (see nano_memory)
"""

from wla.envs.tabletop.tasks import MEMORY_TASKS, SHORT_TASKS
from wla.presets import CAMERAS, NANO_MATRICES, PROMPT, nano_backbone
from wla.training import BackboneTrainConfig, LoopConfig, OptimConfig, SceneConfig


def config() -> BackboneTrainConfig:
    return BackboneTrainConfig(
        backbone=nano_backbone(),
        prompt=PROMPT,
        scenes=SceneConfig(tasks=(*SHORT_TASKS, *MEMORY_TASKS), scenes_per_variant=1000, cameras=CAMERAS),
        scenes_folder="datasets/nano_memory_scenes",
        datasets=("datasets/nano_memory", "datasets/nano_tabletop"),
        policy="nano-tabletop",
        vision_pretrain_steps=1800,
        loop=LoopConfig(
            optim=OptimConfig(
                steps=2800,
                learning_rate=1e-3,
                final_learning_rate=1e-4,
                warmup=50,
                weight_decay=0.01,
                muon=NANO_MATRICES,
            ),
            batch_size=64,
        ),
    )
