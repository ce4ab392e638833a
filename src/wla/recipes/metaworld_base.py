"""Backbone of the MT10 policy: a small vision-language model that says where Meta-World's objects and goals are.

Command:  wla train metaworld_base --out outputs/metaworld_base
Needs:    datasets/metaworld_mt10 (see metaworld_mt10)

Time: docs/results/metaworld.md.
"""

from wla.presets import nano_backbone
from wla.recipes import nano_base
from wla.training import BackboneTrainConfig, SceneConfig

CAMERAS = {"corner2": 96}


def config() -> BackboneTrainConfig:
    base = nano_base.config()
    return base.replace(
        backbone=nano_backbone(CAMERAS),
        scenes=SceneConfig(env="metaworld", tasks=("mt10",), scenes_per_variant=600, cameras=CAMERAS),
        scenes_folder="datasets/metaworld_mt10_scenes",
        datasets=("datasets/metaworld_mt10",),
        loop=base.loop.replace(optim=base.loop.optim.replace(steps=1450)),
    )
