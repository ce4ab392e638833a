"""Training configuration of the published WLA-0 models."""

from __future__ import annotations

from wla.data.dataset_config import DatasetConfig
from wla.data.lerobot.columns import Columns
from wla.presets.wla0 import SANA, VLM, Preset, presets
from wla.training.configs import LoopConfig, OptimConfig
from wla.training.objectives.configs import PolicyTrainConfig
from wla.training.objectives.initialization_kinds import FromPretrained

GPUS = 8
"""Number of GPUs of the published training."""


def published_train_config(
    preset: Preset,
    *,
    datasets: tuple[str, ...],
    steps: int,
    batch_size: int,
    videos: tuple[str, ...] = (),
    instructions: str | None = None,
) -> PolicyTrainConfig:
    """Returns the published training configuration: AdamW, one micro-batch per GPU.

    datasets: folders with actions. videos: folders used without actions, for the World Expert alone; together they get
    the same weight in a batch as all datasets. instructions: file with paraphrases of the tasks of `datasets`. The
    published datasets have no robot specification; their cameras are identified by order.
    """
    columns = Columns(camera_order=tuple(preset.robot.observation.cameras))

    def source(path: str, *, actions: bool) -> DatasetConfig:
        return DatasetConfig(
            path=path,
            weight=(1 / len(datasets) if actions else 1 / len(videos)) if videos else None,
            instructions=instructions if actions else None,
            columns=columns,
            robot=preset.robot if actions else None,
            actions=actions,
            cache_frames=False,
        )

    return PolicyTrainConfig(
        model=preset.model,
        init=FromPretrained(vlm=VLM, sana=SANA, prompt=preset.prompt),
        datasets=(
            *(source(path, actions=True) for path in datasets),
            *(source(path, actions=False) for path in videos),
        ),
        activation_checkpointing=True,
        dtype="bfloat16",
        loop=LoopConfig(
            optim=OptimConfig(steps=steps),
            batch_size=batch_size,
            micro_batches=GPUS,
            save_every=5000,
        ),
    )


def preset_train_config(name: str) -> PolicyTrainConfig:
    """The recipe of a published model, by the name of its preset. ValueError when there is none."""
    known = presets()
    if name not in known:
        raise ValueError(f"{name} is neither a recipe (a .py file) nor a preset; there are {', '.join(known)}")
    preset = known[name]
    # Two batch sizes were published, the larger one for the models that speak.
    return published_train_config(preset, datasets=(), steps=1, batch_size=448 if preset.prompt.language else 256)
