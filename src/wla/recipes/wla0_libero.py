"""WLA-0 on the four LIBERO suites.

    wla train wla0_libero --help         shows every field
    wla estimate wla0_libero --gpu 80    shows the memory needed
    torchrun --nproc-per-node 8 -m wla train wla0_libero

Needs:    the hub, or local folders as `init.vlm` and `init.sana`;
          SJTU-DENG-Lab/LIBERO_LeRobot, in datasets/.
Hardware: 8 GPUs of 80 GB, as published. Fewer or smaller ones need more `loop.micro_batches`.
Score:    98.6 % (mean of the four suites), as published with these hyper-parameters. Not trained here.
"""

from wla.presets import presets
from wla.training import PolicyTrainConfig, published_train_config


def config() -> PolicyTrainConfig:
    return published_train_config(
        presets()["wla0_libero"],
        datasets=("datasets/LIBERO_LeRobot",),
        steps=100000,
        batch_size=256,
    )
