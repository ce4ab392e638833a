"""WLA-0 on `press_button` of RMBench, with subtasks in words.

    wla train recipes/wla0_rmbench_press_button.py --print-config    shows every field
    wla estimate recipes/wla0_rmbench_press_button.py --gpu 80          what fits where
    torchrun --nproc-per-node 8 -m wla train recipes/wla0_rmbench_press_button.py

Needs:    the hub, or folders in place of `start.vlm` and `start.sana`;
          SJTU-DENG-Lab/RMBench-LeRobot, below datasets/.
Hardware: 8 GPUs of 80 GB, as published. Fewer or smaller ones need more `loop.micro_batches`.
Score:    74 %, as published with these hyper-parameters. Not trained here.
"""

from wla.policy.full_size import presets
from wla.training.full_size import published_training
from wla.training.policy_training import PolicyTraining


def config() -> PolicyTraining:
    return published_training(
        presets()["wla0_rmbench"],
        datasets=("datasets/RMBench-LeRobot/press_button",),
        steps=30000,
        batch_size=448,
    )
