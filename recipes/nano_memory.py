"""`nano-memory`: one policy for the four memory tasks and the six short ones, on the gantry.

Commands, from nothing (datasets/nano_tabletop: see recipes/nano_tabletop.py):
    wla collect --tasks press_count rank_try --episodes 300 --workers 2 --out datasets/nano_memory
    wla collect --tasks cover_blocks battery_try --episodes 250 --workers 2 --out datasets/nano_memory
    wla train recipes/nano_memory_base.py --out outputs/nano_memory_base
    wla train recipes/nano_memory.py --out outputs/nano_memory

It goes on from `nano-tabletop`, with a prompt that tells what was finished and what was said last. The same without
words, to see what they are for:
    wla train recipes/nano_memory.py --out outputs/nano_memory_wordless \
        weights.language=0 start.prompt.language=false start.prompt.memory=null
"""

from wla.data.loader import DatasetConfig
from wla.data.memory import MemoryConfig, MemoryErrors
from wla.models.losses import LossWeights
from wla.training.nano import NANO_POLICY_MATRICES, PROMPT, nano_model
from wla.training.optim import OptimConfig
from wla.training.policy_training import PolicyTraining
from wla.training.starts import CheckpointStart, GroundingConfig
from wla.training.trainer import LoopConfig


def config() -> PolicyTraining:
    model = nano_model(state_dim=5, action_dim=5, chunk=8)
    # As recipes/nano_world.py left it, or it would have to learn other noise levels.
    world = model.world_expert.model_copy(update={"noise_shift": 10.0, "steps": 1})
    return PolicyTraining(
        model=model.model_copy(update={"world_expert": world}),
        start=CheckpointStart(
            policy="nano-tabletop",
            prompt=PROMPT.model_copy(update={"memory": MemoryConfig(tokens=96)}),
            base="outputs/nano_memory_base/checkpoint",
            grounding=GroundingConfig(samples=8, weight=0.1),
        ),
        datasets=(
            DatasetConfig(path="datasets/nano_memory", weight=0.7),
            DatasetConfig(path="datasets/nano_tabletop", weight=0.3),
        ),
        memory_errors=MemoryErrors(lag=(3, 5), forgotten=0.03, dropped=0.03, repeated=0.03),
        weights=LossWeights(action=1.0, world=0.1, language=0.3),
        execute=4,
        loop=LoopConfig(
            optim=OptimConfig(
                steps=2200,
                learning_rate=7e-4,
                final_learning_rate=2e-5,
                warmup=100,
                weight_decay=0.01,
                muon=NANO_POLICY_MATRICES,
            ),
            batch_size=64,
            save_every=250,
        ),
    )
