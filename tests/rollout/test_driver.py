"""Several environments around one policy give the results of one after the other; trouble in one is its own error."""

from __future__ import annotations

import dataclasses

import pytest
from fake_envs import (
    Counting,
    Stubborn,
    build,
    build_and_refuse,
    build_long_first,
    build_other_robot,
    build_troubled,
)
from fakes import TASK_VARIANT, Interrupted, Walker

from wla.rollout.configs import EngineConfig
from wla.rollout.driver import run_jobs
from wla.rollout.runner import EpisodeRunner, Job

pytestmark = pytest.mark.slow  # processes take seconds to start


def run(seeds, num_envs, *, policy=None, make=build, record=False, env_timeout_s=120.0, **options):
    runner = EpisodeRunner(make, "walker", policy, **options)
    jobs = (Job(TASK_VARIANT, seed, record) for seed in seeds)
    return list(run_jobs(jobs, runner, EngineConfig(num_envs=num_envs, env_timeout_s=env_timeout_s)))


def lines(episodes):
    return [dataclasses.replace(result, versions={}) for result, _ in episodes]


def test_any_number_of_environments_gives_the_results_of_one():
    alone = run(range(12), 1, policy=Counting())
    for num_envs in (2, 3):
        policy = Counting()
        assert lines(run(range(12), num_envs, policy=policy)) == lines(alone)
        assert max(policy.batches) == num_envs
    assert {result.outcome for result, _ in alone} == {"success", "failure", "error"}


def test_an_error_of_the_policy_is_that_of_one_episode_with_its_line():
    found = {result.seed: result for result, _ in run(range(3, 6), 2, policy=Counting())}
    assert found[4].error.startswith("RuntimeError: no answer for seed 4 (fake_envs.py:")
    assert [found[seed].outcome for seed in (3, 5)] == ["failure", "failure"]


def test_an_environment_that_hangs_or_dies_is_an_error_and_the_run_continues():
    found = {result.seed: result for result, _ in run(range(8), 2, make=build_troubled, env_timeout_s=1.0)}
    assert list(found) == list(range(8))
    assert "the environment hung: a step or reset took over 1 s" in found[3].error
    assert "process died (exit code 3)" in found[5].error
    assert [found[seed].outcome for seed in (0, 1, 2, 4, 6)] == ["success", "failure", "success", "success", "success"]
    assert [found[seed].outcome for seed in (3, 5)] == ["error", "error"]


def test_all_jobs_run_when_the_first_episode_ends_after_all_that_may_begin_before_it():
    assert [result.seed for result, _ in run(range(20), 2, policy=Counting(), make=build_long_first)] == list(range(20))


def test_recordings_and_imagined_images_come_back_from_the_processes():
    alone = run((0, 2), 1, policy=Walker(), record=True, imagine=True)
    apart = run((0, 2), 2, policy=Walker(), record=True, imagine=True)
    for (_, ours), (_, theirs) in zip(alone, apart, strict=True):
        assert [step.action.tolist() for step in ours.steps] == [step.action.tolist() for step in theirs.steps]
        assert [step.result for step in ours.steps] == [step.result for step in theirs.steps]
        assert theirs.steps[-1].result.reward == 1.0
        assert theirs.steps[0].chunk.subgoal is not None


def test_answers_that_do_not_fit_the_robot_are_errors():
    assert all(result.outcome == "error" for result, _ in run(range(3), 2, policy=Stubborn()))


@pytest.mark.parametrize(
    ("make", "message"), [(build_and_refuse, "no such environment"), (build_other_robot, "swimmer")]
)
def test_an_environment_that_cannot_be_used_stops_the_run_with_its_message(make, message):
    with pytest.raises(ValueError, match=message):
        run(range(4), 2, policy=Walker(), make=make)


def test_ctrl_c_keeps_the_episodes_that_were_yielded():
    runner = EpisodeRunner(build, "walker", Interrupted(at=6))
    episodes = run_jobs((Job(TASK_VARIANT, seed, False) for seed in range(12)), runner, EngineConfig(num_envs=2))
    kept = [next(episodes)[0].seed]
    with pytest.raises(KeyboardInterrupt):
        kept += iter(lambda: next(episodes)[0].seed, None)
    assert kept[0] == 0


def test_a_job_may_carry_another_seed_for_the_policy():
    jobs = [Job(TASK_VARIANT, 0, False, policy_seed=seed) for seed in (0, 1)]
    outcomes = [result.outcome for result, _ in run_jobs(jobs, EpisodeRunner(build, "walker", Walker()))]
    assert outcomes == ["success", "failure"]
