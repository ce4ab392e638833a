"""WLA-0 on 45 tasks of RoboTwin 2.0 with actions, and on videos of another robot in 5 others.

    wla train wla0_robotwin_cross_emb_videos --help         shows every field
    wla estimate wla0_robotwin_cross_emb_videos --gpu 80    shows the memory needed
    torchrun --nproc-per-node 8 -m wla train wla0_robotwin_cross_emb_videos

Needs:    the hub, or local folders as `init.vlm` and `init.sana`;
          SJTU-DENG-Lab/RoboTwin-LeRobot-seen-tasks and
          RoboTwin-LeRobot-unseen-tasks-cross-emb,
          SJTU-DENG-Lab/robotwin_seen_instruction (its JSON file), in datasets/.
Hardware: 8 GPUs of 80 GB, as published. Fewer or smaller ones need more `loop.micro_batches`.
Score:    28.8 / 27.4 % (unseen tasks, clean / randomized), as published with these hyper-parameters. Not trained here.
"""

from wla.presets import presets
from wla.training import PolicyTrainConfig, published_train_config


def config() -> PolicyTrainConfig:
    return published_train_config(
        presets()["wla0_robotwin_videos"],
        datasets=("datasets/RoboTwin-LeRobot-seen-tasks",),
        steps=100000,
        batch_size=256,
        videos=("datasets/RoboTwin-LeRobot-unseen-tasks-cross-emb",),
        instructions="datasets/robotwin_seen_instruction.json",
    )
