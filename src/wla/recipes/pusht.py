"""One policy for Push-T, from images of 96 x 96 pixels.

Commands, from scratch (with the extra `pusht`, see docs/guides/benchmarks.md):
    wla collect --env pusht --episodes 300 --num-envs 2 --out datasets/pusht
    wla train pusht_base --out outputs/pusht_base
    wla train pusht --out outputs/pusht
    wla eval outputs/pusht --env pusht --num-envs 2 --out outputs/pusht_eval

Hardware: 2 CPU cores with bf16. Time and score: docs/results/pusht.md.
"""

from wla.data import DatasetConfig
from wla.presets import nano_model
from wla.recipes import nano_tabletop, pusht_base
from wla.training import FromBackbone, GroundingConfig, PolicyTrainConfig


def config() -> PolicyTrainConfig:
    loop = nano_tabletop.config().loop
    return PolicyTrainConfig(
        model=nano_model(state_dim=2, action_dim=2, chunk=16, cameras=pusht_base.CAMERAS).replace(max_world_samples=4),
        init=FromBackbone(
            backbone="outputs/pusht_base/checkpoint",
            codec="nano-tabletop",
            grounding=GroundingConfig(samples=8, weight=0.1),
        ),
        datasets=(DatasetConfig(path="datasets/pusht"),),
        replan_steps=8,  # as Diffusion Policy does there
        loop=loop.replace(save_every=250),
    )
