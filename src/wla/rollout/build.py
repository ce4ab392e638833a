"""From the names on a command line to an environment and the policy that acts in it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, cast

from wla.envs.perturb import PerturbedActions
from wla.envs.registry import default_tasks, make_env, make_expert, task_names
from wla.envs.tabletop.env import TabletopEnv
from wla.policy.baselines import RandomPolicy, ZeroPolicy
from wla.rollout.configs import BestOfNConfig, MemoryInterventionKind
from wla.rollout.dagger import ExpertLabels, MemoryPolicy, MixturePolicy
from wla.rollout.memory_interventions import MemoryIntervention
from wla.rollout.results import TaskVariant
from wla.specs import RobotSpec
from wla.types import Env, Policy

if TYPE_CHECKING:
    from wla.policy.wla_policy import WLAPolicy

SCRIPTED = ("expert", "random", "zero")
"""Policies that need no checkpoint. Every other name is a checkpoint."""


def build(
    variant: TaskVariant,
    shared: Policy | None,
    *,
    policy: str,
    memory_intervention: MemoryInterventionKind | None = None,
) -> tuple[Env, Policy]:
    """The environment of the variant and the named policy for it; `shared` is that of `load_shared`."""
    env = _env(variant)
    acting = _policy(policy, env, shared)
    return env, acting if memory_intervention is None else MemoryIntervention(acting, memory_intervention)


def build_expert(
    variant: TaskVariant,
    shared: Policy | None,
    *,
    perturb: bool,
    expert_fraction: float = 0.5,
    random_fraction: float = 0.0,
    relabels: bool = True,
) -> tuple[Env, Policy]:
    """The environment of the variant and its expert, in turns with the shared policy if there is one.

    perturb: disturb actions now and then. expert_fraction, random_fraction, relabels: see `MixturePolicy`.
    """
    inner = _env(variant)
    expert: Policy = make_expert(inner)
    # gymnasium types a wrapper's step more loosely than the environment's.
    env = cast(Env, PerturbedActions(inner)) if perturb else inner
    if shared is None:
        return env, expert
    assert isinstance(shared, MemoryPolicy), "checkpoints have a memory that can be replaced"
    mixture = MixturePolicy(shared, expert, expert_fraction, random_fraction=random_fraction, relabels=relabels)
    return ExpertLabels(env, expert) if relabels else env, mixture


def robot_of(variant: TaskVariant) -> RobotSpec:
    env = _env(variant)
    try:
        return env.robot_spec
    finally:
        env.close()


def load_shared(
    policy: str, *, imagine: bool = False, device: str | None = None, best_of_n: BestOfNConfig | None = None
) -> Policy | None:
    """The named checkpoint, loaded once for all environments; None for scripted policies, which each has of its own.

    ValueError for a checkpoint that cannot be loaded, and for images or candidates of a scripted policy.
    """
    if policy in SCRIPTED:
        if best_of_n is not None:
            raise ValueError(f"policy {policy} has no candidates to choose from; --num-candidates is for checkpoints")
        if imagine:
            raise ValueError(f"policy {policy} cannot imagine; --imagine is for checkpoints")
        return None
    # Imported here, because the scripted policies need none of the model libraries, which take seconds.
    from wla.policy.wla_policy import load_policy

    loaded = load_policy(policy, imagination=imagine or best_of_n is not None, device=device)
    return loaded if best_of_n is None else _best_of_n(loaded, best_of_n)


def make_variants(env: str, tasks: Iterable[str], settings: Iterable[str], embodiment: str) -> list[TaskVariant]:
    """Every task in every setting; no tasks means its default ones. ValueError names an unknown one."""
    known = task_names(env)
    chosen = list(dict.fromkeys(tasks)) or list(default_tasks(env))
    for task in chosen:
        if task not in known:
            raise ValueError(f"{env} has no task {task!r}; it has {', '.join(known)}")
    variants = [TaskVariant(env, task, setting, embodiment) for setting in dict.fromkeys(settings) for task in chosen]
    for variant in variants:
        robot_of(variant)  # knows the settings and embodiments, and complains before any work is done
    return variants


def _env(variant: TaskVariant) -> TabletopEnv:
    return make_env(variant.env, task=variant.task, setting=variant.setting, embodiment=variant.embodiment)


def _policy(name: str, env: Env, shared: Policy | None) -> Policy:
    match name:
        case "expert":
            return make_expert(env)
        case "random":
            return RandomPolicy(env.robot_spec)
        case "zero":
            return ZeroPolicy(env.robot_spec)
        case _:
            assert shared is not None, "a checkpoint is loaded before environments are built"
            return shared


def _best_of_n(policy: WLAPolicy, best_of_n: BestOfNConfig) -> Policy:
    from wla.policy.best_of_n import BestOfNPolicy, BestOfNPolicyConfig, GoalImageScorer, Scorer
    from wla.policy.value_checkpoint import load_value

    scorer: Scorer
    if best_of_n.goal is not None:
        scorer = GoalImageScorer.from_file(Path(best_of_n.goal), policy.model.config.target_side)
    else:
        assert best_of_n.value is not None, "the configuration names one thing that scores"
        scorer = load_value(best_of_n.value, camera=policy.model.backbone.primary)
    config = BestOfNPolicyConfig(
        num_candidates=best_of_n.num_candidates,
        imagination_horizon=best_of_n.imagination_horizon,
        memory_reset=best_of_n.memory_reset,
        selection_margin=best_of_n.selection_margin,
        action_conditioning=best_of_n.action_conditioning,
        time_budget_ms=best_of_n.time_budget_ms,
    )
    return BestOfNPolicy(policy, scorer, config)
