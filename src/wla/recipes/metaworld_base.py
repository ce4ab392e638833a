"""Backbone of the Meta-World policies: a small vision-language model that says where objects and goals are.

Command (with the extra `metaworld`, see docs/guides/benchmarks.md), for 50 tasks, and for those of metaworld_mt10:
    wla train metaworld_base --out outputs/metaworld_base
    wla train metaworld_base --out outputs/metaworld_mt10_base scenes.tasks='["mt10"]' scenes.scenes_per_variant=600 \
        scenes_folder=datasets/metaworld_mt10_scenes datasets='["datasets/metaworld_mt10"]'
Needs:    datasets/metaworld_mt50, or datasets/metaworld_mt10 (see metaworld_mt10)
"""

from wla.presets import nano_backbone
from wla.recipes import nano_base
from wla.training import BackboneTrainConfig, SceneConfig

CAMERAS = {"corner2": 96}


def config() -> BackboneTrainConfig:
    return nano_base.config().replace(
        backbone=nano_backbone(CAMERAS),
        scenes=SceneConfig(env="metaworld", tasks=("mt50",), scenes_per_variant=300, cameras=CAMERAS),
        scenes_folder="datasets/metaworld_scenes",
        datasets=("datasets/metaworld_mt50",),
    )
