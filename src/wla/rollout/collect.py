"""Datasets from scripted experts, alone or in turns with a policy."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path

from wla.envs.registry import load_family
from wla.envs.seeds import require_seeds
from wla.rollout.build import action_labels, build_expert, load_shared, make_variants, robot_of
from wla.rollout.configs import CollectConfig, EngineConfig
from wla.rollout.dataset_recording import record
from wla.rollout.runner import EpisodeRunner
from wla.types import Outcome


def collect(config: CollectConfig, out: Path) -> Counter[str]:
    """Collect what `out` does not have yet; returns how many episodes had which outcome, earlier runs included.

    After KeyboardInterrupt or an exception the finished episodes are in the dataset, and the same call continues.
    ValueError for seeds outside the split's range, unknown names, actions of tasks that are reserved for videos,
    perturbations that executed actions would not show, random motion without a policy, or a folder with something else
    in it.
    """
    family = load_family(config.env)
    require_seeds(config.seeds, config.split, family.seeds)
    engine = EngineConfig.of(config)
    variants = make_variants(config)
    reserved = {variant.task for variant in variants} & set(family.video_tasks)
    if config.actions and reserved:
        raise ValueError(f"{min(reserved)} measures learning from videos: collect it with --no-actions")
    if config.random_fraction and config.policy is None:
        raise ValueError("--random-fraction is a fraction of a policy's turns; add --policy")
    relabels = action_labels(config, variants[0]) == "expert"
    if config.perturb and config.action_labels == "executed":
        raise ValueError(
            "--action-labels executed: perturbations would move the robot otherwise than recorded; add --no-perturb"
        )
    robot = robot_of(variants[0])
    runner = EpisodeRunner(
        partial(
            build_expert,
            perturb=config.perturb,
            policy=config.policy,
            expert_fraction=config.expert_fraction,
            random_fraction=config.random_fraction,
            relabels=relabels,
        ),
        config.policy or "expert",
        None if config.policy is None else load_shared(config.policy, robot=robot),
    )
    if runner.policy is not None:  # before there is a dataset
        runner.policy.robot_spec.require_equal(robot, ours=f"policy {config.policy}", theirs="the environment")
    keep: tuple[Outcome, ...] = ("success",) if config.policy is None else ("success", "failure")
    return record(
        variants,
        config.seeds,
        runner,
        robot,
        out,
        engine=engine,
        actions=config.actions,
        keep=keep,
    )
