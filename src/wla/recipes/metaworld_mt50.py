"""One policy for the 50 tasks of Meta-World, from images and words: that of metaworld_mt10_more, trained further.

Commands, after those of metaworld_mt10_more:
    wla collect --env metaworld --tasks mt50 --episodes 50 --num-envs 2 --out datasets/metaworld_mt50
    wla train metaworld_mt50_base --out outputs/metaworld_mt50_base
    wla train metaworld_mt50 --out outputs/metaworld_mt50
    wla eval outputs/metaworld_mt50 --env metaworld --tasks mt50 --num-envs 2 --out outputs/metaworld_mt50_eval

Hardware: 2 CPU cores with bf16. Time and score: docs/results/metaworld.md.
"""

from wla.data import DatasetConfig
from wla.recipes import metaworld_mt10_more, metaworld_mt50_base
from wla.training import FromCheckpoint, PolicyTrainConfig


def config() -> PolicyTrainConfig:
    ten, base = metaworld_mt10_more.config(), metaworld_mt50_base.config()
    assert isinstance(ten.init, FromCheckpoint)
    assert base.policy is not None
    return ten.replace(
        init=ten.init.replace(policy=base.policy, backbone="outputs/metaworld_mt50_base/checkpoint"),
        datasets=(
            DatasetConfig(path="datasets/metaworld_mt50", weight=0.92),
            DatasetConfig(path="datasets/metaworld_mt10_more", weight=0.08),
        ),
        loop=ten.loop.replace(optim=ten.loop.optim.replace(steps=3400, learning_rate=8e-4, warmup=100)),
    )
