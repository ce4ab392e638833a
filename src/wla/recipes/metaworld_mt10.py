"""One policy for the ten tasks of Meta-World's MT10, from images and words.

Commands, from scratch (with the extra `metaworld`, see docs/guides/benchmarks.md):
    wla collect --env metaworld --tasks mt10 --episodes 50 --num-envs 2 --out datasets/metaworld_mt10
    wla train nano_codec datasets='["datasets/metaworld_mt10"]' camera=corner2 loop.optim.steps=2500 \
        --out outputs/metaworld_codec
    wla train metaworld_base --out outputs/metaworld_mt10_base scenes.tasks='["mt10"]' scenes.scenes_per_variant=600 \
        scenes_folder=datasets/metaworld_mt10_scenes datasets='["datasets/metaworld_mt10"]' loop.optim.steps=1450
    wla train metaworld_mt10 --out outputs/metaworld_mt10
    wla eval outputs/metaworld_mt10 --env metaworld --tasks mt10 --num-envs 2 --out outputs/metaworld_mt10_eval

Hardware: 2 CPU cores with bf16. Time and score: docs/results/metaworld.md.
"""

from wla.data import DatasetConfig
from wla.recipes import metaworld_mt50
from wla.training import FromBackbone, PolicyTrainConfig


def config() -> PolicyTrainConfig:
    all_tasks = metaworld_mt50.config()
    init, loop = all_tasks.init, all_tasks.loop
    assert isinstance(init, FromBackbone)
    return all_tasks.replace(
        init=init.replace(backbone="outputs/metaworld_mt10_base/checkpoint"),
        datasets=(DatasetConfig(path="datasets/metaworld_mt10"),),
        loop=loop.replace(optim=loop.optim.replace(steps=2400)),
    )
