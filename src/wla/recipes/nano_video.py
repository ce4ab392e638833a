"""Learning from videos without actions: two tasks with videos of the same or of another embodiment only.

Commands:
    wla collect --tasks place stack push press drawer --setting clean randomized --episodes 400 --num-envs 2 \
        --out datasets/nano_seen
    wla collect --tasks place_on_plate push_back --setting clean randomized --episodes 400 --num-envs 2 --no-actions \
        --out datasets/nano_video/gantry
    wla collect --tasks place_on_plate push_back --setting clean randomized --episodes 400 --num-envs 2 --no-actions \
        --embodiment scara --out datasets/nano_video/scara
    (for the variant with pseudo-actions: the commands of nano_inverse)
    wla ablate nano_video split=evaluation --num-envs 2 --out outputs/nano_video

Five of the short tasks have actions; `place_two` has none, because it places a block on the plate.

Hardware: 2 CPU cores with bf16. Time: 7 minutes for the data, 4 x 40 for training, on one core. Score: 0.0, 42.5,
99.0 and 37.5 % (docs/results/world.md).
"""

import json

from wla.data import DatasetConfig
from wla.envs.tabletop.tasks import VIDEO_TASKS
from wla.recipes import nano_tabletop
from wla.training import Ablation, FromBackbone, GroundingConfig


def config() -> Ablation:
    before = nano_tabletop.config()
    seen = DatasetConfig(path="datasets/nano_seen", weight=0.65)
    init = FromBackbone(backbone="nano-base", codec="nano-tabletop", grounding=GroundingConfig(samples=8, weight=0.1))
    return Ablation(
        recipe=before.replace(init=init, datasets=(seen,), action_noise=0.0),
        variants={
            "seen actions only": (),
            "and videos of the same robot": (_with_videos(seen, "gantry"),),
            "and their actions inferred": (
                _with_videos(seen, "gantry", pseudo_actions="outputs/gantry_actions.parquet"),
            ),
            # The other robot's appearance identifies the task: samples without images depend on the instruction.
            "and videos of another robot": (_with_videos(seen, "scara"), "image_dropout=0.25"),
        },
        tasks=VIDEO_TASKS,
        episodes=100,
    )


def _with_videos(seen: DatasetConfig, robot: str, pseudo_actions: str | None = None) -> str:
    videos = DatasetConfig(
        path=f"datasets/nano_video/{robot}", weight=0.35, actions=False, pseudo_actions=pseudo_actions
    )
    return f"datasets={json.dumps([each.model_dump(mode='json') for each in (seen, videos)])}"
