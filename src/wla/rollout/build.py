"""From the words of a command line to an environment and the policy that acts in it."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any

from wla.envs.perturb import PerturbedActions
from wla.envs.registry import load_family, make_env, make_expert
from wla.policy.baselines import RandomPolicy, ZeroPolicy
from wla.rollout.configs import ActionLabels, BestOfNConfig, CollectConfig, MemoryInterventionKind
from wla.rollout.dagger import MixturePolicy
from wla.rollout.episode import require_same_robot
from wla.rollout.memory_interventions import MemoryIntervention
from wla.rollout.results import TaskVariant
from wla.specs import RobotSpec
from wla.types import Env, Policy

SCRIPTED = ("expert", "random", "zero")
"""Policies that need no checkpoint. Every other name is a checkpoint."""


def build(
    variant: TaskVariant,
    *,
    policy: str,
    imagine: bool = False,
    device: str | None = None,
    memory_intervention: MemoryInterventionKind | None = None,
    best_of_n: BestOfNConfig | None = None,
) -> tuple[Env, Policy]:
    """The environment of the case and the named policy for it. ValueError when they are for different robots."""
    env = _env(variant)
    acting = _policy(policy, variant.env, env, imagine or best_of_n is not None, device)
    require_same_robot(env, acting, policy)
    if best_of_n is not None:
        acting = _best_of_n(acting, best_of_n)
    return env, acting if memory_intervention is None else MemoryIntervention(acting, memory_intervention)


def build_expert(
    variant: TaskVariant,
    *,
    perturb: bool,
    policy: str | None = None,
    expert_fraction: float = 0.5,
    random_fraction: float = 0.0,
    relabels: bool = True,
) -> tuple[Env, Policy]:
    """The environment of the case and its expert, in turns with a policy if one is named.

    share, astray, corrects: see `MixturePolicy`. With kicks, actions are disturbed now and then. A policy that acts
    alone (see `acts_alone`) is neither disturbed nor labelled. ValueError when the policy is for another robot.
    """
    env = _env(variant)
    if policy is not None and acts_alone(variant, env, policy):
        acting = _policy(policy, variant.env, env, imagine=False, device=None)
        require_same_robot(env, acting, policy)
        return env, acting
    expert: Policy = make_expert(variant.env, env)
    if policy is not None:
        checkpoint = _load_once(policy, imagine=False, device=None)
        require_same_robot(env, checkpoint, policy)
        expert = MixturePolicy(checkpoint, expert, expert_fraction, random_fraction=random_fraction, relabels=relabels)
    return PerturbedActions(env) if perturb else env, expert


def acts_alone(variant: TaskVariant, env: Env, policy: str) -> bool:
    """Whether the policy takes no turns with an expert: it is scripted, or the environment has no expert."""
    return policy in SCRIPTED or load_family(variant.env).make_expert(env) is None


def action_labels(config: CollectConfig, variant: TaskVariant) -> ActionLabels:
    """Whose actions are recorded. ValueError when that, or anything else that is asked for, needs a missing expert."""
    with closing(_env(variant)) as env:
        if config.policy is None:
            make_expert(variant.env, env)  # complains where there is none
        elif acts_alone(variant, env, config.policy):
            alone = f"{config.policy} acts alone (scripted, or {variant.env} has no expert)"
            if config.expert_fraction or config.random_fraction:
                raise ValueError(f"{alone}: add --expert-fraction 0, and no --random-fraction")
            if config.action_labels == "expert":
                raise ValueError(f"{alone}: there are no expert's actions to record; leave out --action-labels")
            return "executed"
    return config.action_labels or "expert"


def require_expert(variant: TaskVariant) -> None:
    """ValueError where the environment of the case has no expert."""
    with closing(_env(variant)) as env:
        make_expert(variant.env, env)


def robot_of(variant: TaskVariant) -> RobotSpec:
    with closing(_env(variant)) as env:
        return env.robot_spec


def checkpoint_sha256(policy: str, *, imagine: bool = False, device: str | None = None) -> str | None:
    """The checkpoint's identity, None for policies that have none. ValueError for a checkpoint that does not load.

    ValueError also when a policy that has no world model is asked to imagine.
    """
    if policy not in SCRIPTED:
        acting = _load_once(policy, imagine, device)
        if imagine:
            acting.require_imagination()
        return acting.checkpoint_sha256
    if imagine:
        raise ValueError(f"policy {policy} cannot imagine; --imagine is for checkpoints")
    return None


def make_variants(env: str, tasks: Iterable[str], settings: Iterable[str], embodiment: str | None) -> list[TaskVariant]:
    """Every task in every setting; what is left out is the environment's default. ValueError names an unknown one."""
    family = load_family(env)
    chosen = family.select_tasks(tasks)
    robot = embodiment or family.embodiments[0]
    variants = [
        TaskVariant(env, task, setting, robot)
        for setting in tuple(dict.fromkeys(settings)) or family.settings[:1]
        for task in chosen
    ]
    for variant in variants:
        robot_of(variant)  # knows the settings and embodiments, and complains before any work is done
    return variants


def _env(variant: TaskVariant) -> Env:
    return make_env(variant.env, task=variant.task, setting=variant.setting, embodiment=variant.embodiment)


def _policy(name: str, family: str, env: Env, imagine: bool, device: str | None) -> Policy:
    match name:
        case "expert":
            return make_expert(family, env)
        case "random":
            return RandomPolicy(env.robot_spec)
        case "zero":
            return ZeroPolicy(env.robot_spec)
        case _:
            return _load_once(name, imagine, device)


def _best_of_n(acting: Any, best_of_n: BestOfNConfig) -> Policy:
    from wla.policy.best_of_n import BestOfNPolicy, BestOfNPolicyConfig

    size = acting.require_imagination().size
    scorer = _scorer_once(best_of_n.value, best_of_n.goal, acting.primary, size)
    config = BestOfNPolicyConfig(
        num_candidates=best_of_n.num_candidates,
        imagination_horizon=best_of_n.imagination_horizon,
        memory_reset=best_of_n.memory_reset,
        selection_margin=best_of_n.selection_margin,
        action_conditioning=best_of_n.action_conditioning,
        time_budget_ms=best_of_n.time_budget_ms,
    )
    return BestOfNPolicy(acting, scorer, config)


@lru_cache(maxsize=1)
def _scorer_once(value: str | None, goal: str | None, camera: str, side: int) -> Any:
    """The value model for what is imagined of the camera, or the goal image in a file at the size of that."""
    from wla.policy.best_of_n import GoalImageScorer
    from wla.policy.value_checkpoint import load_value

    if goal is not None:
        return GoalImageScorer.from_file(Path(goal), side)
    assert value is not None
    return load_value(value, camera=camera)


@lru_cache(maxsize=1)
def _load_once(name: str, imagine: bool, device: str | None) -> Any:
    # Imported here, because the scripted policies need none of the model libraries, which take seconds.
    from wla.policy.wla_policy import load_policy

    return load_policy(name, imagination=imagine, device=device)
