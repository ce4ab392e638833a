"""From the names on a command line to an environment and the policy that acts in it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from wla.control.delayed_policy import DelayedPolicy, TimingConfig
from wla.envs.perturb import PerturbedActions
from wla.envs.registry import load_family, make_env, make_expert
from wla.policy.baselines import RandomPolicy, ZeroPolicy
from wla.rollout.configs import (
    SCRIPTED,
    ActionLabels,
    BestOfNConfig,
    CollectConfig,
    EnvironmentNames,
    MemoryInterventionKind,
    is_address,
)
from wla.rollout.dagger import ExpertLabels, MemoryPolicy, MixturePolicy
from wla.rollout.memory_interventions import MemoryIntervention
from wla.rollout.results import TaskVariant
from wla.specs import RobotSpec
from wla.types import Env, Policy

if TYPE_CHECKING:
    from wla.policy.inference_options import InferenceOptions
    from wla.policy.wla_policy import WLAPolicy


def build(
    variant: TaskVariant,
    shared: Policy | None,
    *,
    policy: str,
    memory_intervention: MemoryInterventionKind | None = None,
    timing: TimingConfig | None = None,
) -> tuple[Env, Policy]:
    """The environment of the variant and the named policy for it; `shared` is that of `load_shared`."""
    env = open_env(variant)
    acting = _policy(policy, variant.env, env, shared)
    if memory_intervention is not None:
        acting = MemoryIntervention(acting, memory_intervention)
    return env, acting if timing is None else DelayedPolicy(acting, timing)


def build_expert(
    variant: TaskVariant,
    shared: Policy | None,
    *,
    perturb: bool,
    policy: str | None = None,
    expert_fraction: float = 0.5,
    random_fraction: float = 0.0,
    relabels: bool = True,
) -> tuple[Env, Policy]:
    """The environment of the variant and its expert, in turns with the named policy (`shared`) if there is one.

    perturb: disturb actions now and then. expert_fraction, random_fraction, relabels: see `MixturePolicy`. A policy
    that acts alone (see `acts_alone`) is neither disturbed nor labelled.
    """
    inner = open_env(variant)
    if policy is not None and acts_alone(variant, inner, policy):
        return inner, _policy(policy, variant.env, inner, shared)
    expert: Policy = make_expert(variant.env, inner)
    # gymnasium types a wrapper's step more loosely than the environment's.
    env = cast(Env, PerturbedActions(inner)) if perturb else inner
    if shared is None:
        return env, expert
    assert isinstance(shared, MemoryPolicy), "checkpoints have a memory that can be replaced"
    mixture = MixturePolicy(shared, expert, expert_fraction, random_fraction=random_fraction, relabels=relabels)
    return ExpertLabels(env, expert) if relabels else env, mixture


def acts_alone(variant: TaskVariant, env: Env, policy: str) -> bool:
    """Whether the policy takes no turns with an expert: it is scripted, or the environment has no expert."""
    return policy in SCRIPTED or load_family(variant.env).make_expert(env) is None


def action_labels(config: CollectConfig, variant: TaskVariant) -> ActionLabels:
    """The actor whose actions are recorded. ValueError when the configuration needs an expert that is missing."""
    with closing(open_env(variant)) as env:
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
    """ValueError where the environment of the variant has no expert."""
    with closing(open_env(variant)) as env:
        make_expert(variant.env, env)


def robot_of(variant: TaskVariant) -> RobotSpec:
    with closing(open_env(variant)) as env:
        return env.robot_spec


def load_shared(
    policy: str,
    *,
    robot: RobotSpec | None = None,
    imagine: bool = False,
    device: str | None = None,
    best_of_n: BestOfNConfig | None = None,
    inference: InferenceOptions | None = None,
) -> Policy | None:
    """The named checkpoint, loaded once for all environments; None for scripted policies, which each has of its own.

    robot: of the environments, by whose name a policy for several acts. ValueError for a checkpoint that cannot be
    loaded, and for images, candidates or options of inference of anything but a checkpoint.
    """
    if inference is not None and (policy in SCRIPTED or is_address(policy)):
        inference.require_here(policy)
    if policy in SCRIPTED:
        if best_of_n is not None:
            raise ValueError(f"policy {policy} has no candidates to choose from; --num-candidates is for checkpoints")
        if imagine:
            raise ValueError(f"policy {policy} cannot imagine; --imagine is for checkpoints")
        return None
    if is_address(policy):
        return _remote(policy, best_of_n=best_of_n)
    # Imported here, because the scripted policies need none of the model libraries, which take seconds.
    from wla.policy.wla_policy import load_policy

    loaded = load_policy(
        policy,
        imagination=imagine or (best_of_n is not None and not best_of_n.consensus),
        device=device,
        robot=robot,
        **({} if inference is None else inference.inference),
    )
    if imagine:
        loaded.require_imagination()
    if best_of_n is None:
        return loaded
    options = {} if inference is None else {"fast": inference.fast, "precision": inference.precision}
    return _best_of_n(loaded, best_of_n, options)


def make_variants(names: EnvironmentNames) -> list[TaskVariant]:
    """Every task in every setting; what is left out is the environment's default. ValueError names an unknown one."""
    family = load_family(names.env)
    chosen = family.select_tasks(names.tasks)
    robot = names.embodiment or family.embodiments[0]
    variants = [
        TaskVariant(names.env, task, setting, robot, names.protocol or family.protocols[0])
        for setting in tuple(dict.fromkeys(names.setting)) or family.settings[:1]
        for task in chosen
    ]
    for variant in variants:
        robot_of(variant)  # knows all other names, and complains before any work is done
    return variants


def open_env(variant: TaskVariant) -> Env:
    return make_env(
        variant.env,
        task=variant.task,
        setting=variant.setting,
        embodiment=variant.embodiment,
        protocol=variant.protocol,
    )


def _policy(name: str, family: str, env: Env, shared: Policy | None) -> Policy:
    match name:
        case "expert":
            return make_expert(family, env)
        case "random":
            return RandomPolicy(env.robot_spec)
        case "zero":
            return ZeroPolicy(env.robot_spec)
        case _:
            assert shared is not None, "a checkpoint is loaded before environments are built"
            return shared


def _remote(address: str, *, best_of_n: BestOfNConfig | None) -> Policy:
    if best_of_n is not None:
        raise ValueError(f"{address}: a remote policy chooses among candidates where it is served, not here")
    from wla.serving.client import RemotePolicy

    return RemotePolicy(address)


def _best_of_n(policy: WLAPolicy, best_of_n: BestOfNConfig, options: Mapping[str, Any]) -> Policy:
    """options: of `load_value`."""
    if best_of_n.consensus:
        from wla.policy.keystone import KeyStonePolicy

        return KeyStonePolicy(policy, best_of_n.num_candidates)
    from wla.policy.best_of_n import BestOfNPolicy, BestOfNPolicyConfig, GoalImageScorer, Scorer
    from wla.policy.value_checkpoint import load_value

    size = policy.require_imagination().size
    scorer: Scorer
    if best_of_n.goal is not None:
        scorer = GoalImageScorer.from_file(Path(best_of_n.goal), size)
    else:
        assert best_of_n.value is not None, "the configuration names one thing that scores"
        scorer = load_value(best_of_n.value, camera=policy.primary, **options)
    config = BestOfNPolicyConfig(
        num_candidates=best_of_n.num_candidates,
        imagination_horizon=best_of_n.imagination_horizon,
        memory_reset=best_of_n.memory_reset,
        selection_margin=best_of_n.selection_margin,
        action_conditioning=best_of_n.action_conditioning,
        time_budget_ms=best_of_n.time_budget_ms,
    )
    return BestOfNPolicy(policy, scorer, config)
