"""Environments as Ray actors, on this machine and on a cluster, give the results of processes; those that die are
replaced."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from fake_envs import Counting, build, build_troubled
from fakes import TASK_VARIANT, Walker

from wla.rollout.configs import EngineConfig
from wla.rollout.driver import build_engine, run_jobs
from wla.rollout.runner import EpisodeRunner, Job

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.slow  # a cluster takes seconds to start


@pytest.fixture(autouse=True)
def modules_of_tests(monkeypatch):
    """Actors import the fakes, as they would import a user's environment."""
    here = Path(__file__).parent
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(here), str(here.parent), *filter(None, sys.path)]))


@pytest.fixture
def cluster():
    from ray.cluster_utils import Cluster

    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    second = found.add_node(num_cpus=1)
    yield found, second
    found.shutdown()


def run(seeds, config, *, policy=None, make=build, record=False, **options):
    runner = EpisodeRunner(make, "walker", policy, **options)
    return list(run_jobs((Job(TASK_VARIANT, seed, record) for seed in seeds), runner, config))


def outcomes(episodes):
    return [(result.seed, result.outcome, result.steps, result.error) for result, _ in episodes]


def test_actors_give_the_results_of_one_environment_in_this_process():
    ours, theirs = Counting(), Counting()
    alone = run(range(8), EngineConfig(), policy=ours)
    apart = run(range(8), EngineConfig(engine="ray", num_envs=2), policy=theirs)
    assert outcomes(apart) == outcomes(alone)
    assert max(theirs.batches) == 2
    assert not ray.is_initialized()


def test_recordings_come_back():
    alone = run((0, 2), EngineConfig(), policy=Walker(), record=True)
    apart = run((0, 2), EngineConfig(engine="ray"), policy=Walker(), record=True)
    for (_, ours), (_, theirs) in zip(alone, apart, strict=True):
        assert [step.action.tolist() for step in ours.steps] == [step.action.tolist() for step in theirs.steps]


def test_an_actor_that_hangs_or_dies_is_replaced_and_nothing_is_counted_twice():
    config = EngineConfig(engine="ray", num_envs=2, env_timeout_s=1.0)
    found = {result.seed: result for result, _ in run(range(8), config, make=build_troubled)}
    assert list(found) == list(range(8))
    assert "the environment hung: a step or reset took over 1 s" in found[3].error
    assert "actor died" in found[5].error
    assert [found[seed].outcome for seed in (0, 1, 2, 4, 6)] == ["success", "failure", "success", "success", "success"]


def test_a_cluster_of_two_nodes_runs_them_all_also_when_a_node_is_lost(cluster):
    both, second = cluster
    config = EngineConfig(engine="ray", num_envs=2, address=both.address)
    engine = build_engine(EpisodeRunner(build, "walker", Counting()), config)
    try:
        episodes = engine.run(Job(TASK_VARIANT, seed, False) for seed in range(20))
        found = [next(episodes)]
        assert ray.available_resources().get("CPU", 0) == 0  # each node has one, so each runs an environment
        both.remove_node(second, allow_graceful=False)
        both.add_node(num_cpus=1)
        found += list(episodes)
    finally:
        engine.close()
    assert [result.seed for result, _ in found] == list(range(20))
    assert sum("actor died" in (result.error or "") for result, _ in found) <= 2


def test_a_cluster_with_too_few_cpus_is_refused_in_one_line(cluster):
    with pytest.raises(ValueError, match="--num-envs 3: each needs a CPU, and the Ray cluster has 2"):
        run(range(1), EngineConfig(engine="ray", num_envs=3, address=cluster[0].address))


@pytest.mark.parametrize("address", ["127.0.0.1:9", "auto"])
def test_an_address_without_a_cluster_is_refused_in_one_line(address):
    with pytest.raises(ValueError, match=f"no Ray cluster on {address} .*ray start --head"):
        run(range(1), EngineConfig(engine="ray", address=address))


def test_an_address_without_ray_is_refused():
    with pytest.raises(ValueError, match="add --engine ray"):
        EngineConfig.of(EngineConfig(address="auto"))
