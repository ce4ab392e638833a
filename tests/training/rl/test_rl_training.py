"""Reinforcement learning raises the reward, resumes bit for bit, trains the Action Expert alone, and counts once."""

from __future__ import annotations

import math
import signal
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from fake_envs import build_troubled
from fakes import TASK_VARIANT, Walker
from reach import BAD_SEEDS, recipe

from wla.policy import WLAPolicy
from wla.policy.checkpoint import load_checkpoint
from wla.rollout.configs import EngineConfig
from wla.rollout.driver import build_engine
from wla.rollout.runner import EpisodeRunner, Job
from wla.training import GRPOConfig, NFTConfig, PPOConfig, RLTrainConfig, SpeedRewardConfig, train
from wla.training.metrics import read_metrics
from wla.training.rl.exploration import ExploringPolicy
from wla.training.rl.jobs import group_jobs
from wla.training.rl.rollouts import run_episodes
from wla.types import PolicyState

METRICS = "metrics.jsonl"


def rewards(out) -> list[float]:
    return [row["reward"] for row in read_metrics(out / METRICS)]


@pytest.mark.slow  # 800 episodes
@pytest.mark.parametrize(
    ("objective", "learning_rate"),
    [(GRPOConfig(kl_weight=0.0), 1e-2), (PPOConfig(kl_weight=0.0), 1e-2), (NFTConfig(), 3e-3)],
)
def test_fifty_updates_raise_the_reward(tmp_path, objective, learning_rate):
    config = recipe(tmp_path, 50, group_size=8, epochs=4, objective=objective, anchor_weight=0.1)
    optim = config.loop.optim.replace(learning_rate=learning_rate, final_learning_rate=learning_rate)
    config = config.replace(loop=config.loop.replace(batch_size=16, optim=optim))
    train(config.build(), config.loop, tmp_path / "run")
    found = rewards(tmp_path / "run")
    assert np.mean(found[-5:]) > 0.6 * np.mean(found[:5]), "rewards are negative: the distance has fallen"


def test_fewer_flow_steps_are_learned_where_they_cost_nothing_and_the_checkpoint_acts_in_them(tmp_path):
    config = recipe(tmp_path, 8, speed=SpeedRewardConfig(flow_steps=(1, 6), weight=3.0), group_filter=False)
    checkpoint = train(config.build(), config.loop, tmp_path / "run")
    rows = read_metrics(tmp_path / "run" / METRICS)
    assert rows[0]["steps_1_fraction"] == 0.5
    assert rows[-1]["steps_1_fraction"] > 0.7
    assert load_checkpoint(checkpoint).config.model.action_expert.flow_steps == 1


def test_the_noise_of_the_stochastic_step_is_independent_of_what_the_chunk_starts_from(tmp_path):
    acting = WLAPolicy.from_pretrained(recipe(tmp_path, 1).policy)
    policy = ExploringPolicy(acting, 0.5, None)
    states = [PolicyState(tiny.INSTRUCTIONS[0], seed) for seed in range(300)]
    with policy.exploring():
        policy.act_batch([tiny.observation()] * 300, states)
        _, trajectory = policy.samples()
    step_noise = (trajectory.after - trajectory.mean).sign().flatten(1)
    start = acting.noise(states)[:, 0].sign().flatten(1)
    for lag in range(6):
        assert abs(float((step_noise[:, : 8 - lag] * start[:, lag:]).mean())) < 0.15
        assert abs(float((start[:, : 8 - lag] * step_noise[:, lag:]).mean())) < 0.15


def test_a_resumed_run_equals_one_that_never_stopped_and_changes_the_action_expert_alone(tmp_path):
    config = recipe(tmp_path, 3)
    config = config.replace(loop=config.loop.replace(validation_every=1))
    whole = train(config.build(), config.loop, tmp_path / "whole")

    class Interrupted(type(config.build())):
        def update(self, step, learner, device):
            found = super().update(step, learner, device)
            if step == 1:
                signal.raise_signal(signal.SIGINT)
            return found

    with pytest.raises(KeyboardInterrupt, match="after step 2"):
        train(Interrupted(config), config.loop, tmp_path / "parts")
    parts = train(config.build(), config.loop, tmp_path / "parts", resume=True)
    before, first, second = (load_checkpoint(path).model.state_dict() for path in (Path(config.policy), whole, parts))
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    changed = {name for name, value in before.items() if not torch.equal(value, first[name])}
    assert changed
    assert all(name.startswith("action_expert.") for name in changed)
    timeless = [
        [{name: value for name, value in row.items() if "per_s" not in name} for row in read_metrics(out / METRICS)]
        for out in (tmp_path / "whole", tmp_path / "parts")
    ]
    assert timeless[0] == timeless[1]
    row = timeless[0][0]
    assert row["ratio"] == pytest.approx(1, abs=0.5)
    assert {"success", "clip_fraction", "kl", "group_spread", "calls", "validation/success"} <= row.keys()
    best = max(timeless[0], key=lambda each: each["validation/reward"])["step"] + 1
    assert (tmp_path / "whole/best").read_text().strip().endswith(f"{best:06d}")


def test_the_groups_of_an_update_share_their_seed_and_differ_in_noise(tmp_path):
    config = recipe(tmp_path, 1)
    jobs = [group_jobs(config, [TASK_VARIANT], update) for update in (0, 0, 1)]
    assert jobs[0] == jobs[1] != jobs[2]
    seeds = [job.seed for job in jobs[0]]
    assert len(set(seeds[:4])) == len(set(seeds[4:])) == 1
    assert len({job.policy_seed for job in jobs[0]}) == 8
    assert all(0 <= seed < 10_000 for seed in seeds), "training seeds"


@pytest.mark.slow  # processes take seconds to start
def test_a_worker_that_hangs_or_dies_is_replaced_and_no_episode_counts_twice(capsys):
    config = EngineConfig(num_envs=2, env_timeout_s=1.0)
    engine = build_engine(EpisodeRunner(build_troubled, "walker", Walker()), config)
    try:
        for _ in range(2):  # the processes stay, and those that were lost are new
            found = run_episodes(engine, [Job(TASK_VARIANT, seed, True, images=False) for seed in range(7)], "update 1")
            assert [each.number for each in found] == [0, 1, 2, 4, 6]
            assert [each.executed for each in found][:2] == [[3, 1], [3, 3, 2]]
            (line,) = capsys.readouterr().err.splitlines()
            assert line.startswith(
                "update 1: 2 of 7 episodes are errors and left out; the first is walk, seed 3: the en"
            )
    finally:
        engine.close()


def test_a_reward_that_is_not_a_number_leaves_its_episode_out_or_stops(tmp_path, capsys, monkeypatch):
    config = recipe(tmp_path, 1)
    first, second = (job.seed for job in group_jobs(config, [TASK_VARIANT], 0)[::4])
    monkeypatch.setitem(BAD_SEEDS, first, math.nan)
    train(config.build(), config.loop, tmp_path / "run")
    assert (
        f"4 of 8 episodes are errors and left out; the first is reach, seed {first}: the env" in capsys.readouterr().err
    )
    assert math.isfinite(rewards(tmp_path / "run")[0])
    monkeypatch.setitem(BAD_SEEDS, second, math.inf)
    with pytest.raises(ValueError, match=r"update 1: 8 of 8 episodes are errors .* too many"):
        train(config.build(), config.loop, tmp_path / "stopped")


def test_an_update_without_an_informative_group_leaves_the_weights(tmp_path):
    config = recipe(tmp_path, 1, reward="success")
    config = config.replace(group_size=2, groups=1)
    objective = config.build()
    before = {name: value.clone() for name, value in objective.module.state_dict().items()}
    kept = objective.module
    train(objective, config.loop, tmp_path / "run")
    row = read_metrics(tmp_path / "run" / METRICS)[0]
    assert row["calls"] == 0
    assert all(torch.equal(value, before[name]) for name, value in kept.state_dict().items())


def test_recipes_that_cannot_work_are_refused_in_a_line(tmp_path):
    config = recipe(tmp_path, 1)
    with pytest.raises(ValueError, match=r"loop\.micro_batches"):
        RLTrainConfig(**config.model_dump() | {"loop": config.loop.model_dump() | {"micro_batches": 2}})
    with pytest.raises(ValueError, match="reach has no task 'jump'"):
        recipe(tmp_path, 1, tasks=("jump",)).build()
    with pytest.raises(ValueError, match="nano-tabletop"):
        recipe(tmp_path, 1, policy="nano-tabletop").build()
