from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wla.cli.main import main
from wla.data.lerobot.reader import LeRobotDataset
from wla.rollout.results import read_results

REACH, CLEAR = "outside_sim:outside_sim/Reach-v0", "outside_sim:outside_sim/Clear-v0"


def wla(*words: object) -> int:
    return main([str(word) for word in words])


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    capsys.readouterr()
    assert wla(*words) == 2
    error = capsys.readouterr().err
    assert error.startswith("wla: error: ")
    assert error.count("\n") == 1
    return error


def test_a_mapped_environment_is_evaluated(mapping: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert wla("eval", "random", "--env", mapping, "--episodes", 4, "--max-videos", 1, "--out", out) == 0
    results = read_results(out / "results.jsonl")
    assert [result.seed for result in results] == [100_000, 100_001, 100_002, 100_003]
    assert {(result.env, result.task, result.embodiment) for result in results} == {(str(mapping), "reach", "point")}
    assert {result.outcome for result in results} <= {"success", "failure"}
    assert results[0].instruction == "reach the middle"
    assert "gymnasium" in results[0].versions
    assert "mapping_sha256" in results[0].versions
    assert (out / "report.html").exists()


def test_a_policy_is_recorded_where_there_is_no_expert(mapping: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    words = ("collect", "--env", mapping, "--policy", "random", "--expert-fraction", 0, "--out", out)
    assert wla(*words, "--episodes", 4) == 0
    assert wla(*words, "--episodes", 6) == 0  # the same command continues
    dataset = LeRobotDataset(out)
    assert [episode.seed for episode in dataset.episodes] == list(range(6))
    assert dataset.robot_spec is not None
    assert dataset.robot_spec.embodiment == "point"
    rows = [json.loads(line) for line in (out / "collect.jsonl").read_text().splitlines()]
    assert len(dataset.actions) == sum(row["steps"] for row in rows)
    # What was executed is what moved the point.
    first = rows[0]["steps"]
    np.testing.assert_allclose(np.diff(dataset.state[:first], axis=0), dataset.actions[: first - 1], atol=1e-5)
    assert all(episode.action_executed is None for episode in dataset.episodes)


def test_an_expert_that_is_missing_is_one_line(mapping: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    env = ("--env", mapping, "--out", tmp_path / "out")
    none = "has no scripted expert; evaluate another policy, or collect with --policy P --expert-fraction 0"
    assert none in refused(capsys, "eval", "expert", *env)
    assert none in refused(capsys, "collect", *env)
    assert "random acts alone" in refused(capsys, "collect", "--policy", "random", *env)
    alone = ("collect", "--policy", "random", "--expert-fraction", 0, *env)
    assert "no --random-fraction" in refused(capsys, *alone, "--random-fraction", 0.5)
    assert "no expert's actions to record" in refused(capsys, *alone, "--action-labels", "expert")
    assert not (tmp_path / "out").exists()


def test_names_of_a_mapped_environment_are_checked(
    mapping: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    env = ("eval", "random", "--env", mapping, "--out", tmp_path / "out")
    assert "has no task 'fly'; it has reach" in refused(capsys, *env, "--tasks", "fly")
    assert "has no setting 'dark'; it has default" in refused(capsys, *env, "--setting", "dark")
    assert "has no embodiment 'dog'; it has point" in refused(capsys, *env, "--embodiment", "dog")


def test_init_writes_a_mapping_to_complete(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    file = tmp_path / "new" / "reach.toml"
    assert wla("init", "--env", REACH, "--out", file) == 0
    assert "fill in what it leaves open (success, state.keys)" in capsys.readouterr().out
    text = file.read_text()
    assert 'success = ""  # TODO the key of info that holds it, or terminated(); info has near' in text
    assert "TODO what a robot may feel of the observation's agent.pos (2), goal (1)" in text
    found = tomllib.loads(text)
    assert found["instruction_key"] == "task_description"
    assert found["images"] == {"top": "pixels.top"}
    assert (found["rate_hz"], found["max_steps"]) == (10, 12)
    assert found["action"]["high"] == [0.5, 0.5]
    assert np.asarray(Image.open(file.with_name("reach_top.png"))).shape == (24, 24, 3)
    run = ("eval", "random", "--env", file, "--episodes", 1, "--out", tmp_path / "out")
    assert "success: String should have at least 1 character" in refused(capsys, *run)
    file.write_text(text.replace('success = ""', 'success = "near"'))
    assert wla(*run) == 0
    assert "reach.toml is there already" in refused(capsys, "init", "--env", REACH, "--out", file)


def test_an_environment_that_shows_everything_needs_no_file(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert wla("eval", "random", "--env", CLEAR, "--episodes", 2, "--out", tmp_path / "out") == 0
    result = read_results(tmp_path / "out" / "results.jsonl")[0]
    assert (result.env, result.task) == (CLEAR, "outside_sim_Clear-v0")
    assert wla("init", "--env", CLEAR, "--out", tmp_path / "clear.toml") == 0
    assert "  wla eval random --env" in capsys.readouterr().err
    assert wla("eval", "random", "--env", tmp_path / "clear.toml", "--episodes", 1, "--out", tmp_path / "file") == 0


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (REACH, "leaves open: success, state.keys; state that in a mapping file: wla init --env outside_sim:outside"),
        ("CartPole-v1", "actions are Discrete(2); only a 1-D Box of floats works"),
        ("CartPole-v99", "gymnasium has no environment 'CartPole-v99'"),
        (
            "unseen/Fly-v0",
            "(Namespace unseen not found. Have you installed the proper package for unseen?); where a",
        ),
        ("outside_sim:outside_sim/Fly-v0", "gymnasium has no environment 'outside_sim/Fly-v0'"),
        ("nowhere:Fly-v0", "cannot import 'nowhere' (No module named 'nowhere'); install it, or put its folder on"),
    ],
)
def test_gymnasium_ids_that_cannot_be_used_are_one_line(
    env: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert message in refused(capsys, "eval", "random", "--env", env, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_init_refuses_environments_without_images(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    import gymnasium
    import outside_sim

    gymnasium.register("Blind-v0", outside_sim.Reach, kwargs={"fault": "blind"}, max_episode_steps=5)
    words = ("init", "--env", "Blind-v0", "--out", tmp_path / "blind.toml")
    assert "'Blind-v0' shows no images" in refused(capsys, *words)
    assert "a mapping file ends in .toml" in refused(capsys, *words[:-1], tmp_path / "blind.json")
    assert list(tmp_path.iterdir()) == []
