"""WLA-0 on `blocks_ranking_try` of RMBench, with predicted subtasks.

    wla train wla0_rmbench_blocks_ranking_try --help         shows every field
    wla estimate wla0_rmbench_blocks_ranking_try --gpu 80    shows the memory needed
    torchrun --nproc-per-node 8 -m wla train wla0_rmbench_blocks_ranking_try

Needs:    the hub, or local folders as `init.vlm` and `init.sana`;
          SJTU-DENG-Lab/RMBench-LeRobot, in datasets/.
Hardware: 8 GPUs of 80 GB, as published. Fewer or smaller ones need more `loop.micro_batches`.
Score:    23 %, as published with these hyper-parameters. Not trained here.
"""

from wla.presets import presets
from wla.training import PolicyTrainConfig, published_train_config


def config() -> PolicyTrainConfig:
    return published_train_config(
        presets()["wla0_rmbench"],
        datasets=("datasets/RMBench-LeRobot/blocks_ranking_try",),
        steps=30000,
        batch_size=448,
    )
