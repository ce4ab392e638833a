"""Backbone of the LIBERO policy: a small vision-language model that says where the things of two suites are.

Command:  wla train libero_base --out outputs/libero_base
Needs:    datasets/libero_object and datasets/libero_spatial (see libero)

Time: docs/results/libero.md.
"""

from wla.presets import nano_backbone
from wla.recipes import nano_base
from wla.training import BackboneTrainConfig, SceneConfig

CAMERAS = {"image": 96, "wrist_image": 48}
DATASETS = ("datasets/libero_object", "datasets/libero_spatial")


def config() -> BackboneTrainConfig:
    base = nano_base.config()
    suites = ("libero_object", "libero_spatial")
    return base.replace(
        backbone=nano_backbone(CAMERAS),
        scenes=SceneConfig(env="libero", tasks=suites, scenes_per_variant=80, cameras=CAMERAS),
        scenes_folder="datasets/libero_scenes",
        datasets=DATASETS,
        vision_pretrain_steps=2000,
        loop=base.loop.replace(optim=base.loop.optim.replace(steps=2600)),
    )
