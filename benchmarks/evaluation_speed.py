"""Steps per second that an evaluation gets out of its simulator, beside what the simulator does alone.

python benchmarks/evaluation_speed.py POLICY [--env metaworld] [--tasks mt10] [--episodes 4]

One environment in one process. An evaluation's steps are divided by its time without the policy's: it holds resets, the
episode loop and the results on disk. Alone means the same resets and actions with the images of all cameras after every
step; after the episodes of a task the simulator runs them so, and both sides meet the same machine.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from wla.bench.stored import store
from wla.envs.registry import family_versions, load_family, make_env
from wla.evaluation.benchmark import evaluate
from wla.evaluation.configs import EvalConfig
from wla.evaluation.summary import Identity
from wla.policy.wrapper import PolicyWrapper, observes_images
from wla.rollout.build import build, load_shared, make_variants, robot_of
from wla.rollout.results import TaskVariant
from wla.rollout.runner import EpisodeRunner
from wla.types import ActionChunk, Env, Observation, Policy


@dataclass
class Meter:
    """Seconds of the policy, and the actions of each episode."""

    policy_s: float = 0.0
    episodes: list[list[np.ndarray]] = field(default_factory=list)


class TimedPolicy(PolicyWrapper[Any]):
    """Adds what the policy takes to a meter."""

    def __init__(self, policy: Policy, meter: Meter) -> None:
        super().__init__(policy)
        self._meter, self.reads_past_images = meter, observes_images(policy)

    def reset(self, instruction: str, *, seed: int = 0) -> Any:
        return self._timed(partial(super().reset, instruction, seed=seed))

    def act(self, observation: Observation, state: Any, **options: Any) -> tuple[ActionChunk, Any]:
        return self._timed(partial(super().act, observation, state, **options))

    def observe(self, observation: Observation, state: Any) -> Any:
        return self._timed(partial(super().observe, observation, state))

    def _timed(self, call: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        answer = call()
        self._meter.policy_s += time.perf_counter() - began
        return answer


class RecordedEnv:
    """Notes the actions after each reset in a meter."""

    images_wanted = True

    def __init__(self, env: Env, meter: Meter) -> None:
        self._env, self._meter, self.robot_spec = env, meter, env.robot_spec

    def reset(self, **options: Any) -> tuple[dict, dict]:
        self._meter.episodes.append([])
        return self._env.reset(**options)

    def step(self, action: np.ndarray) -> tuple[dict, float, bool, bool, dict]:
        self._meter.episodes[-1].append(action.copy())
        if hasattr(self._env, "images_wanted"):
            self._env.images_wanted = self.images_wanted
        return self._env.step(action)

    def close(self) -> None:
        self._env.close()


def alone(env: Env, seed: int, actions: Sequence[np.ndarray]) -> float:
    """Seconds of an episode's reset and steps, with images after each."""
    began = time.perf_counter()
    env.reset(seed=seed)
    for action in actions:
        env.step(action)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("policy")
    parser.add_argument("--env", default="metaworld")
    parser.add_argument("--tasks", nargs="*", default=["mt10"])
    parser.add_argument("--episodes", type=int, default=4)
    args = parser.parse_args()
    variants = make_variants(EvalConfig(policy=args.policy, env=args.env, tasks=tuple(args.tasks)))
    shared = load_shared(args.policy, robot=robot_of(variants[0]))
    first, meter = load_family(args.env).seeds["validation"][0], Meter()
    steps, rest, simulator = 0, 0.0, 0.0

    def timed_build(variant: TaskVariant, policy: Policy | None) -> tuple[Any, Policy]:
        env, acting = build(variant, policy, policy=args.policy)
        env.reset(seed=first)  # reads the models
        return RecordedEnv(env, meter), TimedPolicy(acting, meter)

    for variant in variants:
        runner = EpisodeRunner(timed_build, args.policy, shared)
        identity = Identity(policy=args.policy, checkpoint_sha256=None, replan_steps=None)
        with TemporaryDirectory() as folder, closing(make_env(args.env, task=variant.task)) as own:
            own.reset(seed=first)
            evaluate([(variant, first)], runner, identity, Path(folder) / "warm-up")
            meter.policy_s, meter.episodes, began = 0.0, [], time.perf_counter()
            seeds = range(first, first + args.episodes)
            evaluate([(variant, seed) for seed in seeds], runner, identity, Path(folder) / "episodes")
            rest += time.perf_counter() - began - meter.policy_s
            simulator += sum(alone(own, *episode) for episode in zip(seeds, meter.episodes, strict=True))
            steps += sum(map(len, meter.episodes))
        runner.close()
        print(f"{variant.task}: evaluation {steps / rest:.1f} steps/s, alone {steps / simulator:.1f}", flush=True)
    line = {
        "policy": args.policy,
        "env": args.env,
        "tasks": [variant.task for variant in variants],
        "episodes": args.episodes,
        "steps": steps,
        "steps_per_s": {"evaluation": round(steps / rest, 1), "alone": round(steps / simulator, 1)},
        "share": round(simulator / rest, 3),
        "versions": family_versions(),
    }
    print(f"share of the simulator's speed {simulator / rest:.1%}")
    store("evaluation_speed", line)


if __name__ == "__main__":
    main()
