"""From the words of a command line to an environment and the policy that acts in it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from wla.envs.perturb import KickedActions
from wla.envs.registry import default_tasks, make_env, make_expert, task_names
from wla.envs.tabletop.env import TabletopEnv
from wla.policy.baselines import RandomPolicy, ZeroPolicy
from wla.rollout.configs import MemoryFault, Weighing
from wla.rollout.dagger import Shared
from wla.rollout.episode import require_same_robot
from wla.rollout.memory_interventions import Tampered
from wla.rollout.results import Case
from wla.specs import RobotSpec
from wla.types import Env, Policy

SCRIPTED = ("expert", "random", "zero")
"""Policies that need no checkpoint. Every other name is a checkpoint."""


def build(
    case: Case,
    *,
    policy: str,
    imagine: bool = False,
    device: str | None = None,
    memory_fault: MemoryFault | None = None,
    weighing: Weighing | None = None,
) -> tuple[Env, Policy]:
    """The environment of the case and the named policy for it. ValueError when they are for different robots."""
    env = _env(case)
    acting = _policy(policy, env, imagine or weighing is not None, device)
    require_same_robot(env, acting, policy)
    if weighing is not None:
        acting = _weighing(acting, weighing)
    return env, acting if memory_fault is None else Tampered(acting, memory_fault)


def build_expert(
    case: Case,
    *,
    kicks: bool,
    policy: str | None = None,
    share: float = 0.5,
    astray: float = 0.0,
    corrects: bool = True,
) -> tuple[Env, Policy]:
    """The environment of the case and its expert, in turns with a policy if one is named.

    share, astray, corrects: see `Shared`. With kicks, actions are disturbed now and then. ValueError when the policy is
    for another robot.
    """
    env = _env(case)
    expert: Policy = make_expert(env)
    if policy is not None:
        acting = _load_once(policy, imagine=False, device=None)
        require_same_robot(env, acting, policy)
        expert = Shared(acting, expert, share, astray=astray, corrects=corrects)
    # gymnasium types a wrapper's step more loosely than the environment's.
    return cast(Env, KickedActions(env)) if kicks else env, expert


def robot_of(case: Case) -> RobotSpec:
    env = _env(case)
    try:
        return env.robot_spec
    finally:
        env.close()


def checkpoint_sha256(policy: str, *, imagine: bool = False, device: str | None = None) -> str | None:
    """The checkpoint's identity, None for policies that have none. ValueError for a checkpoint that does not load.

    ValueError also when a policy that has no world model is asked to imagine.
    """
    if policy not in SCRIPTED:
        return _load_once(policy, imagine, device).checkpoint_sha256
    if imagine:
        raise ValueError(f"policy {policy} cannot imagine; --imagine is for checkpoints")
    return None


def make_cases(env: str, tasks: Iterable[str], settings: Iterable[str], embodiment: str) -> list[Case]:
    """Every task in every setting; no tasks means its default ones. ValueError names an unknown one."""
    known = task_names(env)
    chosen = list(dict.fromkeys(tasks)) or list(default_tasks(env))
    for task in chosen:
        if task not in known:
            raise ValueError(f"{env} has no task {task!r}; it has {', '.join(known)}")
    cases = [Case(env, task, setting, embodiment) for setting in dict.fromkeys(settings) for task in chosen]
    for case in cases:
        robot_of(case)  # knows the settings and embodiments, and complains before any work is done
    return cases


def _env(case: Case) -> TabletopEnv:
    return make_env(case.env, task=case.task, setting=case.setting, embodiment=case.embodiment)


def _policy(name: str, env: Env, imagine: bool, device: str | None) -> Policy:
    match name:
        case "expert":
            return make_expert(env)
        case "random":
            return RandomPolicy(env.robot_spec)
        case "zero":
            return ZeroPolicy(env.robot_spec)
        case _:
            return _load_once(name, imagine, device)


def _weighing(acting: Any, weighing: Weighing) -> Policy:
    from wla.policy.best_of_n import ScaledPolicy, ScalingConfig

    sees = acting.model.backbone.primary
    scorer = _scorer_once(weighing.value, weighing.goal, sees, acting.model.config.target_side)
    config = ScalingConfig(
        candidates=weighing.candidates,
        horizon=weighing.horizon,
        afresh=weighing.afresh,
        margin=weighing.margin,
        plain=weighing.plain,
        budget_ms=weighing.budget_ms,
    )
    return ScaledPolicy(acting, scorer, config)


@lru_cache(maxsize=1)
def _scorer_once(value: str | None, goal: str | None, camera: str, side: int) -> Any:
    """The value model for what is imagined of the camera, or the goal image in a file at the size of that."""
    from wla.policy.best_of_n import Goal
    from wla.policy.value_checkpoint import load_value

    if goal is not None:
        return Goal.read(Path(goal), side)
    assert value is not None
    return load_value(value, camera=camera)


@lru_cache(maxsize=1)
def _load_once(name: str, imagine: bool, device: str | None) -> Any:
    # Imported here, because the scripted policies need none of the model libraries, which take seconds.
    from wla.policy.wla_policy import load_policy

    return load_policy(name, imagination=imagine, device=device)
