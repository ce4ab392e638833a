"""A value model for all ten tasks: probability of success, trained on successful and failed rollouts.

Commands, with COLLECT for `wla collect --policy nano-memory --action-labels executed --no-perturb --num-envs 2` and
MEMORY for `--tasks press_count cover_blocks battery_try rank_try`:
    COLLECT --expert-fraction 0 --seed 8000 --episodes 200 --setting clean randomized --out datasets/nano_rollouts/short
    COLLECT --expert-fraction 0 --seed 8000 --episodes 80 MEMORY --out datasets/nano_rollouts/memory
    COLLECT --expert-fraction 0 --seed 8100 --episodes 120 MEMORY --out datasets/nano_rollouts/memory_more
    COLLECT --expert-fraction 0.3 --random-fraction 0.4 --seed 9000 --episodes 60 --setting clean randomized \
        --out datasets/nano_rollouts/short_shared
    COLLECT --expert-fraction 0.3 --random-fraction 0.4 --seed 9000 --episodes 40 MEMORY \
        --out datasets/nano_rollouts/memory_shared
    wla train nano_value --out outputs/nano_value

The model reads the current subtask and its duration: in most failures the policy keeps predicting a subtask that it
believes almost finished, which no single frame shows.

Hardware: 2 CPU cores with bf16. Time: 30 + 10 minutes. Score: docs/results/world.md.
"""

from wla.training import LoopConfig, OptimConfig, ValueTrainConfig


def config() -> ValueTrainConfig:
    return ValueTrainConfig(
        policy="nano-memory",
        datasets=("datasets/nano_rollouts",),
        discount=0.998,
        loop=LoopConfig(
            optim=OptimConfig(
                steps=2500,
                learning_rate=1e-3,
                final_learning_rate=2e-5,
                warmup=50,
                weight_decay=0.01,
            ),
            batch_size=64,
        ),
    )
