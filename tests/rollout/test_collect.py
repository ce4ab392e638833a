import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from fakes import TASK_VARIANT, Interrupted, build, spec
from full_disk import full_disk
from test_locks import hold

from wla.data.lerobot.reader import LeRobotDataset
from wla.rollout.collect import collect
from wla.rollout.configs import CollectConfig, EngineConfig
from wla.rollout.dataset_recording import record
from wla.rollout.results import read_results
from wla.rollout.runner import EpisodeRunner

SHORT = {"tasks": ("place",), "episodes": 1, "perturb": False}


def collected(out, config):
    collect(config, out)
    return LeRobotDataset(out)


def go(out, seeds, *, make=build, num_envs=1, actions=True):
    runner, engine = EpisodeRunner(make, "expert"), EngineConfig(num_envs=num_envs)
    return record([TASK_VARIANT], seeds, runner, spec(), out, engine=engine, actions=actions)


def test_failures_are_kept_where_they_are_wanted(tmp_path):
    out = tmp_path / "data"
    keep = ("success", "failure")
    for seeds in (range(4), range(9)):
        counts = record([TASK_VARIANT], seeds, EpisodeRunner(build, "walker"), spec(), out, actions=True, keep=keep)
    assert counts == {"success": 4, "failure": 3, "error": 2}
    assert stored_seeds(out) == list(range(7))


def test_episodes_of_another_policy_are_not_mixed_in(tmp_path):
    go(tmp_path / "data", range(2))
    with pytest.raises(ValueError, match=r"holds episodes of expert; collect those of walker into a new folder"):
        record(
            [TASK_VARIANT],
            range(4),
            EpisodeRunner(build, "walker"),
            spec(),
            tmp_path / "data",
            actions=True,
        )


def stored_seeds(out):
    files = sorted((out / "meta/episodes").rglob("*.parquet"))
    return [seed for file in files for seed in pq.read_table(file)["seed"].to_pylist()]


def test_successes_are_kept_and_the_rest_is_counted(tmp_path):
    counts = go(tmp_path / "data", range(9))
    assert counts == {"success": 4, "failure": 3, "error": 2}
    assert stored_seeds(tmp_path / "data") == [0, 2, 4, 6]


def test_ctrl_c_keeps_finished_episodes_and_the_same_call_goes_on(tmp_path):
    out = tmp_path / "data"
    with pytest.raises(KeyboardInterrupt):
        go(out, range(10), make=lambda variant, shared: (build(variant)[0], Interrupted(at=5)))
    assert stored_seeds(out) == [0, 2, 4]
    go(out, range(10))
    assert stored_seeds(out) == [0, 2, 4, 6, 9]
    assert go(out, range(6)) == {"success": 5, "failure": 3}  # nothing new, crashed ones are out of this range
    assert stored_seeds(out) == [0, 2, 4, 6, 9]


def test_successes_that_a_kill_took_are_collected_again(tmp_path):
    out = tmp_path / "data"
    go(out, range(3))
    lines = (out / "collect.jsonl").read_text()
    lost = json.loads(lines.splitlines()[0]) | {"seed": 4}
    (out / "collect.jsonl").write_text(lines + json.dumps(lost) + "\n")
    go(out, range(5))
    assert stored_seeds(out) == [0, 2, 4]
    assert [r.seed for r in read_results(out / "collect.jsonl")] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("limit", [500, 4000], ids=["while listing", "while saving"])
def test_a_full_disk_is_one_line_and_the_same_call_goes_on(tmp_path, limit):
    out = tmp_path / "data"
    go(out, range(3))
    with full_disk(limit), pytest.raises(ValueError, match=r"data: cannot write .*free disk space") as caught:
        go(out, range(7))
    assert "\n" not in str(caught.value)
    assert stored_seeds(out) == [0, 2]
    go(out, range(7))
    assert stored_seeds(out) == [0, 2, 4, 6]
    assert sorted(r.seed for r in read_results(out / "collect.jsonl")) == list(range(7))


def test_lines_belong_to_episodes_in_whatever_order_and_however_often_they_stand(tmp_path):
    out = tmp_path / "data"
    go(out, range(8))
    lines = (out / "collect.jsonl").read_text().splitlines(keepends=True)
    (out / "collect.jsonl").write_text("".join(lines[::-1] + lines[2:6]))  # as if two processes had written
    before = stored_seeds(out)
    counts = go(out, range(10))
    assert stored_seeds(out) == [*before, 9]
    assert counts.total() == len(read_results(out / "collect.jsonl")) == 10


def test_a_second_process_may_not_collect_into_the_folder(tmp_path):
    out = tmp_path / "data"
    go(out, range(3))
    with hold(out) as process:
        with pytest.raises(ValueError, match=rf"data: another process \(pid {process.pid}\) writes here now"):
            go(out, range(6))
        process.kill()
    assert go(out, range(3)) == {"success": 2, "failure": 1}


def test_an_episode_is_listed_before_it_is_saved(tmp_path, monkeypatch):
    """Ctrl-C in between must not leave an episode that the list lacks: such a folder could not go on."""
    out = tmp_path / "data"

    def interrupted(*_):
        raise KeyboardInterrupt

    for name in ("append_result", "Recording.replay"):
        with monkeypatch.context() as patch:
            where = "dataset_recording.append_result" if name == "append_result" else "recording.Recording.replay"
            patch.setattr(f"wla.rollout.{where}", interrupted)
            with pytest.raises(KeyboardInterrupt):
                go(out, range(3))
    go(out, range(3))
    assert stored_seeds(out) == [0, 2]


def test_rewards_are_recorded(tmp_path):
    go(tmp_path / "data", range(1))
    np.testing.assert_array_equal(LeRobotDataset(tmp_path / "data").rewards, np.float32([0, 0, 0, 1]))


def test_a_dataset_without_its_list_is_not_continued(tmp_path):
    go(tmp_path / "data", range(3))
    (tmp_path / "data/collect.jsonl").unlink()
    with pytest.raises(ValueError, match="lists 0 of the dataset's 2 episodes"):
        go(tmp_path / "data", range(5))


def test_without_actions_there_is_no_action_column(tmp_path):
    go(tmp_path / "data", range(1), actions=False)
    assert "action" not in json.loads((tmp_path / "data/meta/info.json").read_text())["features"]


@pytest.mark.parametrize(
    ("seed", "split"), [(100_000, "training"), (9_999, "training"), (0, "validation"), (19_999, "evaluation")]
)
def test_seeds_outside_the_split_are_refused(tmp_path, seed, split):
    config = CollectConfig(tasks=("place",), episodes=2, seed=seed, split=split)
    with pytest.raises(ValueError, match="is not for"):
        collect(config, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_expert_of_the_tabletop_becomes_a_dataset(tmp_path):
    out = tmp_path / "data"
    assert collect(CollectConfig(tasks=("place",), episodes=2, perturb=False), out) == {"success": 2}
    result = read_results(out / "collect.jsonl")[0]
    assert [words.split()[0] for _, words in result.subtasks] == ["reach", "grasp", "move", "release"]
    assert "gl_renderer" in result.versions
    assert stored_seeds(out) == [0, 1]


def test_tasks_kept_for_videos_are_not_collected_with_actions(tmp_path):
    config = CollectConfig(tasks=("place", "push_back"), episodes=1)
    with pytest.raises(ValueError, match="push_back measures learning from videos: collect it with --no-actions"):
        collect(config, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_recorded_is_what_the_expert_would_do_or_what_was_done(tmp_path):
    advice, done = (
        collected(
            tmp_path / record, CollectConfig(**SHORT, policy="nano-tabletop", expert_fraction=0, action_labels=record)
        )
        for record in ("expert", "executed")
    )
    np.testing.assert_array_equal(advice.state, done.state)
    away = np.abs(advice.actions - done.actions).max(1) > 1e-6
    assert away.mean() > 0.5
    action_executed = advice.episodes[0].action_executed
    assert action_executed is not None
    np.testing.assert_array_equal(action_executed, ~away)
    assert done.episodes[0].action_executed is None


def test_random_motion_needs_a_policy(tmp_path):
    with pytest.raises(ValueError, match="--random-fraction is a fraction of a policy's turns"):
        collect(CollectConfig(**SHORT, random_fraction=0.5), tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_executed_actions_are_not_recorded_with_perturbations(tmp_path):
    config = CollectConfig(**SHORT | {"perturb": True}, policy="nano-tabletop", action_labels="executed")
    with pytest.raises(ValueError, match=r"--action-labels executed: perturbations .* add --no-perturb"):
        collect(config, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_a_policy_of_another_robot_is_refused_before_there_is_a_dataset(tmp_path):
    config = CollectConfig(
        **SHORT | {"tasks": ("push_back",)}, embodiment="scara", policy="nano-tabletop", actions=False
    )
    with pytest.raises(ValueError, match="different robots"):
        collect(config, tmp_path / "data")
    assert not (tmp_path / "data").exists()
