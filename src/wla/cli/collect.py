"""`wla collect`, `wla record-memory`: datasets of the simulator, and of what a policy remembers on a dataset."""

from __future__ import annotations

from pathlib import Path

from wla.cli.command import Command
from wla.cli.names import find_dataset, require_environment, require_policy
from wla.policy.hub import find
from wla.rollout.configs import CollectConfig, RecordMemoryConfig


class CollectArgs(CollectConfig):
    """Record the scripted expert as a LeRobot v3.0 dataset.

    Only successes are kept. With --policy, a checkpoint and the expert act in turns, and every step records the
    expert's action: data for the states that the policy gets to, failures included (DAgger). Ctrl-C and SIGTERM keep
    finished episodes, and the same command again resumes where it stopped; kill -9 loses those of up to 5000 frames.

    examples:
      wla collect --tasks place stack --episodes 400 --num-envs 8 --out datasets/tabletop
      wla collect --tasks place --setting clean randomized --seed 400 --out datasets/more
      wla collect --tasks place --policy outputs/nano_tabletop/checkpoint --out datasets/corrections
      wla collect --tasks push_back --embodiment scara --no-actions --no-perturb --out datasets/video
    """

    out: Path
    """Folder of the dataset."""


class RecordMemoryArgs(RecordMemoryConfig):
    """Run a policy on recorded frames and record its memory there, its own errors included, to train on.

    examples:
      wla record-memory outputs/nano_memory/checkpoint --dataset datasets/nano_memory --out datasets/nano_memory.parquet
    """


def collect(args: CollectArgs) -> int:
    if args.policy is not None:
        require_policy(args.policy)
    require_environment(args)
    from wla.rollout.collect import collect

    try:
        counts = collect(args, args.out)
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(f"finished episodes are in {args.out}; the same command continues") from stop
    print(
        f"{args.out}: {counts['success']} successes, {counts['failure']} failures "
        f"{'dropped' if args.policy is None else 'kept'}, {counts['error']} errors"
    )
    return 1 if counts["error"] else 0


def record_memory(args: RecordMemoryArgs) -> int:
    find(args.policy)
    args = args.replace(dataset=find_dataset(args.dataset))
    from wla.rollout.memory_replay import record_memory

    print(f"{args.out}: memory at {len(record_memory(args).frames)} frames")
    return 0


COLLECT = {"collect": Command(CollectArgs, collect)}
RECORD_MEMORY = {"record-memory": Command(RecordMemoryArgs, record_memory, positional=("policy",))}
