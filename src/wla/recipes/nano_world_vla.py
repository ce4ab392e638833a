"""WorldVLA at nano size on the six short tasks: text, images and actions as tokens of one decoder.

Commands, from scratch (datasets/nano_tabletop: see nano_tabletop):
    wla train nano_vq_codec --out outputs/nano_vq_codec
    wla train nano_world_vla --out outputs/nano_world_vla

Its two claims as ablations:
    wla train nano_world_vla --out outputs/nano_world_vla_unmasked model.action_mask=false
    wla train nano_world_vla --out outputs/nano_world_vla_actions model.loss_weights.world=0

Score: 4000 steps of 32 samples act by chance, 4 % (docs/results/paradigms.md). Time of the recipe as it is: 2 h 20 min
on a core, from its first steps.
"""

from wla.data import DatasetConfig
from wla.presets import PROMPT, nano_world_vla
from wla.training import FromScratch, LoopConfig, OptimConfig, PolicyTrainConfig


def config() -> PolicyTrainConfig:
    return PolicyTrainConfig(
        model=nano_world_vla(state_dim=5, action_dim=5, chunk=5),
        init=FromScratch(prompt=PROMPT.replace(language=False), codec="outputs/nano_vq_codec/checkpoint"),
        datasets=(DatasetConfig(path="datasets/nano_tabletop"),),
        replan_steps=5,
        action_noise=0.0,
        loop=LoopConfig(
            optim=OptimConfig(
                steps=4000,
                learning_rate=1e-3,
                final_learning_rate=2e-5,
                warmup=100,
                weight_decay=0.01,
                muon=(r"decoder\.layers\.",),
            ),
            batch_size=64,
        ),
    )
