"""`nano-tabletop`: one policy for the six short tasks on the gantry, clean and randomized.

Commands, from scratch:
    wla collect --setting clean randomized --episodes 400 --num-envs 2 --out datasets/nano_tabletop
    wla train nano_codec --out outputs/nano_codec
    wla train nano_base --out outputs/nano_base
    wla train nano_tabletop --out outputs/nano_tabletop

Then nano_world fine-tunes the World Expert.

Hardware: 2 CPU cores with bf16. Time: 6 + 11 + 23 + 45 minutes (codec and backbone may run in parallel, one thread
each).
Score: 93.8 % clean, 91.2 % randomized (docs/results/nano_tabletop.md). A longer run without `grounding` had a much
lower success rate (docs/notebook/learning_to_act.md).
"""

from wla.data import DatasetConfig
from wla.models import LossWeights
from wla.presets import NANO_POLICY_MATRICES, nano_model
from wla.training import FromBackbone, GroundingConfig, LoopConfig, OptimConfig, PolicyTrainConfig


def config() -> PolicyTrainConfig:
    return PolicyTrainConfig(
        model=nano_model(state_dim=5, action_dim=5, chunk=8).replace(loss_weights=LossWeights(language=0.1)),
        init=FromBackbone(
            backbone="outputs/nano_base/checkpoint",
            codec="outputs/nano_codec/checkpoint",
            grounding=GroundingConfig(samples=8, weight=0.1),
        ),
        datasets=(DatasetConfig(path="datasets/nano_tabletop"),),
        replan_steps=4,
        loop=LoopConfig(
            optim=OptimConfig(
                steps=2000,
                learning_rate=1e-3,
                final_learning_rate=2e-5,
                warmup=100,
                weight_decay=0.01,
                muon=NANO_POLICY_MATRICES,
            ),
            batch_size=64,
        ),
    )
