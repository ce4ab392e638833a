"""The policy of metaworld_mt10, trained further with more episodes of the tasks whose goal is a dot in space.

Commands, after those of metaworld_mt10:
    wla collect --env metaworld --tasks reach-v3 push-v3 pick-place-v3 --seed 1000 --episodes 100 --num-envs 2 \
        --out datasets/metaworld_mt10_more
    wla train metaworld_mt10_more --out outputs/metaworld_mt10_more

Hardware, time and score: docs/results/metaworld.md.
"""

from wla.data import DatasetConfig
from wla.recipes import metaworld_mt10
from wla.training import FromBackbone, FromCheckpoint, PolicyTrainConfig


def config() -> PolicyTrainConfig:
    first = metaworld_mt10.config()
    assert isinstance(first.init, FromBackbone)
    return first.replace(
        init=FromCheckpoint(
            policy="outputs/metaworld_mt10/checkpoint", backbone=first.init.backbone, grounding=first.init.grounding
        ),
        datasets=(*first.datasets, DatasetConfig(path="datasets/metaworld_mt10_more")),
        loop=first.loop.replace(optim=first.loop.optim.replace(steps=700, learning_rate=3e-4, warmup=30)),
    )
