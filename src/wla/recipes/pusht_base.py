"""Backbone of the Push-T policy: a small vision-language model that says where the pusher and the block are.

Command:  wla train pusht_base --out outputs/pusht_base
Needs:    datasets/pusht (see pusht)
"""

from wla.presets import nano_backbone
from wla.recipes import nano_base
from wla.training import BackboneTrainConfig, SceneConfig

CAMERAS = {"front": 96}


def config() -> BackboneTrainConfig:
    base = nano_base.config()
    return base.replace(
        backbone=nano_backbone(CAMERAS),
        scenes=SceneConfig(env="pusht", tasks=("push_t",), scenes_per_variant=6000, cameras=CAMERAS),
        scenes_folder="datasets/pusht_scenes",
        datasets=("datasets/pusht",),
        vision_pretrain_steps=2000,
        loop=base.loop.replace(optim=base.loop.optim.replace(steps=2500)),
    )
