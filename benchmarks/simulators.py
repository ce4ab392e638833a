"""Milliseconds of a control step of environments with their images, beside Meta-World's own rendering.

python benchmarks/simulators.py [--env metaworld] [--tasks mt10] [--sizes 96 128] [--steps 150]

Needs the environment's packages. Of each task the images of the default robot's cameras and random actions. CPU time of
all threads, which other processes on the machine change little, and wall-clock time.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from wla.bench.stored import store
from wla.envs.registry import family_versions, load_family, make_env

SEED = 10_000


class Cost(NamedTuple):
    """Milliseconds of a call."""

    cpu: float
    wall: float


def cost(step: Callable[[int], object], steps: int) -> Cost:
    """The mean cost of calls, after two that are not timed."""
    for number in range(2):
        step(number)
    cpu, wall = time.process_time(), time.perf_counter()
    for number in range(steps):
        step(number)
    per_call = 1000 / steps
    return Cost(round(per_call * (time.process_time() - cpu), 2), round(per_call * (time.perf_counter() - wall), 2))


def ours(env_name: str, task: str, size: int, steps: int) -> Cost:
    """Control steps with the images of all cameras."""
    env = make_env(env_name, task=task, image_size=size)
    env.reset(seed=SEED)
    spec = env.robot_spec.action
    rng = np.random.default_rng(0)
    actions = rng.uniform(spec.low, spec.high, (steps + 2, spec.dim)).astype(np.float32)
    found = cost(lambda number: env.step(actions[number]), steps)
    env.close()
    return found


def of_gymnasium(task: str, size: int, steps: int) -> Cost:
    """Control steps of Meta-World with its own rendering."""
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS

    env = ALL_V3_ENVIRONMENTS[task](render_mode="rgb_array", camera_name="corner2", width=size, height=size)
    env._set_task_called, env._freeze_rand_vec = True, False
    env.reset()
    action = np.zeros(4, np.float32)

    def step(_: int) -> object:
        env.step(action)
        return env.render()

    found = cost(step, steps)
    env.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="metaworld")
    parser.add_argument("--tasks", nargs="*", default=["mt10"])
    parser.add_argument("--sizes", nargs="*", type=int, default=[96, 128])
    parser.add_argument("--steps", type=int, default=150)
    args = parser.parse_args()
    costs: dict[str, dict[str, Cost]] = {}
    for task in load_family(args.env).select_tasks(args.tasks):
        found = {f"{size} px": ours(args.env, task, size, args.steps) for size in args.sizes}
        if args.env == "metaworld":
            found[f"gymnasium, {args.sizes[0]} px"] = of_gymnasium(task, args.sizes[0], max(10, args.steps // 5))
        costs[task] = found
        print(task, found, flush=True)
    names = next(iter(costs.values()))
    medians = {name: statistics.median(each[name].cpu for each in costs.values()) for name in names}
    tasks = {task: {name: each._asdict() for name, each in found.items()} for task, found in costs.items()}
    line = {"env": args.env, "steps": args.steps, "median_cpu_ms": medians, "ms": tasks, "versions": family_versions()}
    store("simulators", line)


if __name__ == "__main__":
    main()
