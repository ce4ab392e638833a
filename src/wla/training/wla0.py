"""How the published WLA-0 models were trained."""

from __future__ import annotations

from wla.data.lerobot.columns import Columns
from wla.data.loader import DatasetConfig
from wla.presets.wla0 import SANA, VLM, Preset
from wla.training.objectives.policy import PolicyTrainConfig
from wla.training.objectives.pretrained import FromPretrained
from wla.training.optim import OptimConfig
from wla.training.trainer import LoopConfig

GPUS = 8


def published_train_config(
    preset: Preset,
    *,
    datasets: tuple[str, ...],
    steps: int,
    batch_size: int,
    videos: tuple[str, ...] = (),
    instructions: str | None = None,
) -> PolicyTrainConfig:
    """AdamW as published, a micro-batch for each of `GPUS`.

    datasets: folders with actions; videos: folders that teach the world alone, of equal weight in each batch.
    instructions: phrasings of their tasks. The published datasets carry no robot; their cameras are told by order.
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
