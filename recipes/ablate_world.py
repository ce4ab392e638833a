"""What imagining the future does for acting: the short tasks with and without, and with other frames to imagine.

Command:  wla ablate recipes/ablate_world.py --workers 2 --out outputs/ablate_world
Needs:    outputs/nano_base/checkpoint, outputs/nano_codec/checkpoint, datasets/nano_tabletop (recipes/nano_tabletop.py)
"""

from wla.data.loader import DatasetConfig
from wla.models.losses import LossWeights
from wla.models.world_expert import ChunkConditionConfig
from wla.training.ablation import Ablation
from wla.training.nano import NANO_POLICY_MATRICES, nano_model
from wla.training.optim import OptimConfig
from wla.training.policy_training import PolicyTraining
from wla.training.starts import GroundingConfig, NanoStart
from wla.training.trainer import LoopConfig


def config() -> Ablation:
    reads = ChunkConditionConfig(action_dim=5, chunk=8).model_dump_json()
    recipe = PolicyTraining(
        model=nano_model(state_dim=5, action_dim=5, chunk=8),
        start=NanoStart(
            base="outputs/nano_base/checkpoint",
            codec="outputs/nano_codec/checkpoint",
            grounding=GroundingConfig(samples=8, weight=0.1),
        ),
        datasets=(DatasetConfig(path="datasets/nano_tabletop"),),
        weights=LossWeights(action=1.0, world=0.1, language=0.1),
        execute=4,
        loop=LoopConfig(
            optim=OptimConfig(
                steps=1000,
                learning_rate=1e-3,
                final_learning_rate=2e-5,
                warmup=100,
                weight_decay=0.01,
                muon=NANO_POLICY_MATRICES,
            ),
            batch_size=64,
        ),
    )
    return Ablation(
        recipe=recipe,
        variants={
            "full": (),
            "no world loss": ("weights.world=0",),
            "several target frames": ("targets=[2, 4, 6, 8]",),
            "a past frame": ("targets=[-8]",),
            "told the actions": (f"model.world_expert.actions={reads}",),
        },
        tasks=("place", "stack", "push", "press", "drawer", "place_two"),
        episodes=100,
    )
