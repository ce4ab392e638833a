"""Backbone of the MT50 policy: that of the MT10 policy, further pretrained on the objects of all 50 tasks.

Command:  wla train metaworld_mt50_base --out outputs/metaworld_mt50_base
Needs:    what metaworld_mt50 names before it

Time: docs/results/metaworld.md.
"""

from wla.recipes import metaworld_base
from wla.training import BackboneTrainConfig


def config() -> BackboneTrainConfig:
    first = metaworld_base.config()
    return first.replace(
        scenes=first.scenes.replace(tasks=("mt50",), scenes_per_variant=300),
        scenes_folder="datasets/metaworld_mt50_scenes",
        datasets=("datasets/metaworld_mt50",),
        policy="outputs/metaworld_mt10_more/checkpoint",
        vision_pretrain_steps=2400,
        loop=first.loop.replace(
            optim=first.loop.optim.replace(steps=3100, learning_rate=1e-3, final_learning_rate=1e-4, warmup=50)
        ),
    )
