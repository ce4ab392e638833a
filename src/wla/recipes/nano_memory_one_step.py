"""Action Expert of `nano-memory`, fine-tuned to act in one step as well (SnapFlow); subtasks and images stay.

Command:  wla train nano_memory_one_step --out outputs/nano_memory_one_step
Needs:    the datasets of nano_memory_corrected
Score:    not measured: it was not run to its end (docs/notebook/few_steps.md)

For `nano-tabletop`: policy=nano-tabletop action_noise=1 and its datasets, `datasets=datasets/nano_tabletop`.
"""

from wla.models import OneStepConfig
from wla.recipes import nano_memory_corrected
from wla.training import ActionExpertTrainConfig, LoopConfig, OptimConfig


def config() -> ActionExpertTrainConfig:
    before = nano_memory_corrected.config()
    return ActionExpertTrainConfig(
        policy="nano-memory",
        datasets=before.datasets,
        memory_augmentation=before.memory_augmentation,
        one_step=OneStepConfig(target_steps=10, noise_samples_per_chunk=4, weight=1.0),
        flow_steps=1,
        loop=LoopConfig(
            optim=OptimConfig(
                steps=600,
                learning_rate=5e-4,
                final_learning_rate=1e-5,
                warmup=50,
                weight_decay=0.01,
                muon=(r"action_expert\.blocks\.",),
                muon_learning_rate=0.001,
            ),
            batch_size=64,
        ),
    )
