"""WLA-0 on the 50 tasks of RoboTwin 2.0, end-effector poses.

    wla train wla0_robotwin --help         shows every field
    wla estimate wla0_robotwin --gpu 80    shows the memory needed
    torchrun --nproc-per-node 8 -m wla train wla0_robotwin

Needs:    the hub, or local folders as `init.vlm` and `init.sana`;
          SJTU-DENG-Lab/RoboTwin-LeRobot and
          SJTU-DENG-Lab/robotwin_seen_instruction (its JSON file), in datasets/.
Hardware: 8 GPUs of 80 GB, as published. Fewer or smaller ones need more `loop.micro_batches`.
Score:    92.94 / 90.02 % (clean / randomized), as published with these hyper-parameters. Not trained here.
"""

from wla.presets import presets
from wla.training import PolicyTrainConfig, published_train_config


def config() -> PolicyTrainConfig:
    return published_train_config(
        presets()["wla0_robotwin"],
        datasets=("datasets/RoboTwin-LeRobot",),
        steps=100000,
        batch_size=256,
        instructions="datasets/robotwin_seen_instruction.json",
    )
