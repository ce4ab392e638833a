"""One policy for the twenty tasks of LIBERO's spatial and object suites, from the scripted expert's demonstrations.

Commands, from scratch (with the extra `libero`, see docs/guides/benchmarks.md):
    wla collect --env libero --tasks libero_object --episodes 8 --out datasets/libero_object
    wla collect --env libero --tasks libero_spatial --episodes 12 --out datasets/libero_spatial
    wla train libero_base --out outputs/libero_base
    wla train libero --out outputs/libero
    wla eval outputs/libero --env libero --tasks libero_spatial libero_object --episodes 20 --out outputs/libero_eval

Hardware: 2 CPU cores with bf16. Time and score: docs/results/libero.md.
"""

from wla.data import DatasetConfig
from wla.presets import nano_model
from wla.recipes import libero_base, nano_tabletop
from wla.training import FromBackbone, GroundingConfig, PolicyTrainConfig


def config() -> PolicyTrainConfig:
    loop = nano_tabletop.config().loop
    return PolicyTrainConfig(
        model=nano_model(state_dim=8, action_dim=7, chunk=16, cameras=libero_base.CAMERAS).replace(max_world_samples=4),
        init=FromBackbone(
            backbone="outputs/libero_base/checkpoint",
            codec="nano-tabletop",
            grounding=GroundingConfig(samples=8, weight=0.1),
        ),
        datasets=tuple(DatasetConfig(path=path) for path in libero_base.DATASETS),
        replan_steps=8,  # 0.4 s
        action_noise=0.0,
        loop=loop.replace(optim=loop.optim.replace(steps=2600), save_every=200),
    )
