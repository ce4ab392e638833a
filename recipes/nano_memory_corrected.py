"""`nano-memory` after corrections: the policy acts, the expert says what it would do there, and the policy learns that.

Commands, after those of recipes/nano_memory.py, for each of the four tasks TASK:
    wla collect --policy outputs/nano_memory/checkpoint --tasks TASK --seed 5000 --episodes 200 --workers 2 \
        --out datasets/nano_memory_corrections/first/TASK
    wla train recipes/nano_memory_corrected.py --out outputs/nano_memory_first_round loop.optim.steps=1200

and a second round, in which the policy makes other mistakes:
    wla collect --policy outputs/nano_memory_first_round/checkpoint --tasks TASK --seed 5200 --episodes 150 \
        --workers 2 --out datasets/nano_memory_corrections/second/TASK
    wla train recipes/nano_memory_corrected.py start.policy=outputs/nano_memory_first_round/checkpoint

Hardware: 2 CPU cores with bf16. Time: 2 x (6 + 20) minutes. Score: docs/results/memory.md.
"""

from pathlib import Path

from wla.cli.command import load_recipe
from wla.data.loader import DatasetConfig
from wla.training.policy_training import PolicyTraining
from wla.training.starts import CheckpointStart, GroundingConfig


def config() -> PolicyTraining:
    before: PolicyTraining = load_recipe(Path(__file__).with_name("nano_memory.py"))
    start = CheckpointStart(
        policy="outputs/nano_memory/checkpoint",
        base="outputs/nano_memory_base/checkpoint",
        grounding=GroundingConfig(samples=16, weight=0.1),
    )
    datasets = (
        DatasetConfig(path="datasets/nano_memory_corrections", weight=0.5),
        DatasetConfig(path="datasets/nano_memory", weight=0.3),
        DatasetConfig(path="datasets/nano_tabletop", weight=0.2),
    )
    shorter = ("steps=1100", "learning_rate=7e-4", "final_learning_rate=1e-5", "warmup=50")
    changed = before.model_copy(update={"start": start, "datasets": datasets})
    return changed.override([f"loop.optim.{change}" for change in shorter])
