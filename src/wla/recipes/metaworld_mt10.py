"""One policy for the ten tasks of Meta-World's MT10, from images and words.

Commands, from scratch (with the extra `metaworld`, see docs/guides/benchmarks.md):
    wla collect --env metaworld --tasks mt10 --episodes 50 --num-envs 2 --out datasets/metaworld_mt10
    wla train nano_codec datasets='["datasets/metaworld_mt10"]' camera=corner2 loop.optim.steps=2500 \
        --out outputs/metaworld_codec
    wla train metaworld_base --out outputs/metaworld_base
    wla train metaworld_mt10 --out outputs/metaworld_mt10
    wla eval outputs/metaworld_mt10 --env metaworld --tasks mt10 --num-envs 2 --out outputs/metaworld_mt10_eval

Hardware: 2 CPU cores with bf16. Time and score: docs/results/metaworld.md.
"""

from wla.data import DatasetConfig
from wla.presets import nano_model
from wla.recipes import nano_tabletop
from wla.training import FromBackbone, GroundingConfig, PolicyTrainConfig


def config() -> PolicyTrainConfig:
    loop = nano_tabletop.config().loop
    return PolicyTrainConfig(
        model=nano_model(state_dim=4, action_dim=4, chunk=16, cameras={"corner2": 96}).replace(max_world_samples=4),
        init=FromBackbone(
            backbone="outputs/metaworld_base/checkpoint",
            codec="outputs/metaworld_codec/checkpoint",
            grounding=GroundingConfig(samples=8, weight=0.1),
        ),
        datasets=(DatasetConfig(path="datasets/metaworld_mt10"),),
        replan_steps=8,  # a tenth of a second
        action_noise=0.0,
        loop=loop.replace(optim=loop.optim.replace(steps=2400), save_every=250),
    )
