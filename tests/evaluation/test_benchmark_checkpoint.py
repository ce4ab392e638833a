"""A checkpoint (untrained, tiny) goes through the same benchmark as every other policy."""

from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from wla.data.normalize import Statistics, VectorStatistics
from wla.evaluation.benchmark import run_benchmark
from wla.evaluation.configs import EvalConfig
from wla.evaluation.episode_files import read_episodes
from wla.evaluation.report import write_report
from wla.models.configs import ValueConfig
from wla.models.value_model import ValueModel
from wla.models.wla import WLA
from wla.policy.checkpoint import Checkpoint, CheckpointConfig, save_checkpoint
from wla.policy.robots import PolicyRobot
from wla.policy.value_checkpoint import ValueCheckpoint, ValueCheckpointConfig
from wla.rollout.build import robot_of
from wla.rollout.results import TaskVariant, read_results


def statistics(dim):
    return VectorStatistics(min=(-0.1,) * dim, max=(0.1,) * dim, mean=(0.0,) * dim, std=(1.0,) * dim, count=10)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    robot = robot_of(TaskVariant("tabletop", "place", "clean", "gantry"))
    state, action = robot.observation.state_dim, robot.action.dim
    model = tiny.model_config()
    expert = model.action_expert.replace(state_dim=state, action_dim=action)
    model = model.replace(action_expert=expert)
    config = CheckpointConfig(model=model, prompt=tiny.PROMPT)
    numbers = Statistics(state=statistics(state), action=statistics(action))
    folder = tmp_path_factory.mktemp("run") / "checkpoint"
    own = PolicyRobot(spec=robot, statistics=numbers)
    save_checkpoint(Checkpoint(config, WLA(model).eval(), (own,), tiny.tokenizer()), folder)
    return str(folder)


def test_a_checkpoint_is_evaluated_and_shows_what_it_imagined(checkpoint, tmp_path):
    config = EvalConfig(policy=checkpoint, tasks=("place",), episodes=1, replan_steps=2, imagine=True, max_videos=1)
    summary = run_benchmark(config, tmp_path)
    assert (summary.total.n, summary.total.errors) == (1, 0)
    result = read_results(tmp_path / "results.jsonl")[0]
    assert result.checkpoint_sha256 == summary.checkpoint_sha256
    assert len(result.checkpoint_sha256) == 64
    shown = read_episodes(tmp_path / "episodes")[0][1]
    assert [subgoal.predicted_at for subgoal in shown.subgoals[:3]] == [0, 2, 4]
    assert "imagined at step 2" in write_report(tmp_path).read_text(encoding="utf-8")


@pytest.mark.slow
def test_imagining_does_not_change_what_the_policy_does(checkpoint, tmp_path):
    for imagine in (False, True):
        config = EvalConfig(policy=checkpoint, tasks=("place",), episodes=1, imagine=imagine, max_videos=1)
        run_benchmark(config, tmp_path / str(imagine))
    plain, imagining = (read_episodes(tmp_path / str(i) / "episodes")[0][1] for i in (False, True))
    assert plain.actions == imagining.actions


def test_a_checkpoint_of_another_robot_is_refused(checkpoint, tmp_path):
    config = EvalConfig(policy=checkpoint, tasks=("place",), episodes=1, embodiment="scara")
    with pytest.raises(ValueError, match="are for different robots"):
        run_benchmark(config, tmp_path / "out")


def save_value(folder: Path, camera: str) -> str:
    torch.manual_seed(0)
    backbone = tiny.model_config().backbone.replace(cameras={camera: 32})
    model = ValueModel(ValueConfig(backbone=backbone))
    ValueCheckpoint(ValueCheckpointConfig(model=model.config, prompt=tiny.PROMPT), model, tiny.tokenizer()).save(folder)
    return str(folder)


@pytest.fixture(scope="module")
def value(tmp_path_factory):
    return save_value(tmp_path_factory.mktemp("value") / "value", "front")


def test_candidates_are_scored_and_shown(checkpoint, value, tmp_path):
    config = EvalConfig(
        policy=checkpoint,
        tasks=("place",),
        episodes=1,
        replan_steps=8,
        num_candidates=3,
        imagination_horizon=2,
        value=value,
        max_videos=1,
    )
    summary = run_benchmark(config, tmp_path)
    assert (summary.total.n, summary.total.errors) == (1, 0)
    scored = read_episodes(tmp_path / "episodes")[0][1].subgoals[0].scored_candidates
    assert len(scored) == 3
    assert max(scored, key=lambda each: each.score).selected
    assert sum(each.selected for each in scored) == 1
    assert not any(each.memory_reset for each in scored)
    assert "Candidate 3" in write_report(tmp_path).read_text(encoding="utf-8")
    with pytest.raises(ValueError, match=r"results of another run .* 3 candidates, horizon 2"):
        run_benchmark(config.replace(num_candidates=4), tmp_path)


def test_candidates_are_scored_by_agreement_with_a_goal_image(checkpoint, tmp_path):
    goal = tmp_path / "goal.png"
    Image.fromarray(np.full((64, 64, 3), 255, np.uint8)).save(goal)
    config = EvalConfig(
        policy=checkpoint, tasks=("place",), episodes=1, replan_steps=8, num_candidates=2, goal=str(goal)
    )
    assert run_benchmark(config, tmp_path / "out").total.n == 1
    for scored in read_episodes(tmp_path / "out/episodes")[0][1].subgoals[0].scored_candidates:
        seen = np.asarray(Image.open(next((tmp_path / "out/episodes").rglob(scored.image)))).astype(float)
        assert scored.score == pytest.approx(-np.abs(seen - 255).mean(), abs=0.5)


@pytest.mark.parametrize("candidates", [1, 3])
def test_half_of_the_candidates_are_those_of_an_even_number(candidates):
    with pytest.raises(
        ValueError, match=f"half of the candidates forget, so --num-candidates is even, not {candidates}"
    ):
        _ = EvalConfig(policy="nano-memory", num_candidates=candidates, memory_reset_candidates=True).best_of_n


def test_candidates_are_selected_by_consensus_without_a_model(checkpoint, tmp_path):
    config = EvalConfig(
        policy=checkpoint, tasks=("place",), episodes=1, replan_steps=8, num_candidates=3, consensus=True, max_videos=0
    )
    assert run_benchmark(config, tmp_path).total.n == 1
    with pytest.raises(ValueError, match="need one thing"):
        _ = config.replace(value="nano-value").best_of_n
    with pytest.raises(ValueError, match="--consensus scores nothing: leave out --selection-margin"):
        _ = config.replace(selection_margin=0.3).best_of_n


def test_impossible_selections_are_refused_in_one_line(checkpoint, value, tmp_path):
    with pytest.raises(ValueError, match="2 candidates need one thing that selects among them: --value FOLDER, --goal"):
        run_benchmark(EvalConfig(policy=checkpoint, tasks=("place",), num_candidates=2), tmp_path)
    with pytest.raises(ValueError, match="need one thing"):
        run_benchmark(
            EvalConfig(policy=checkpoint, tasks=("place",), num_candidates=2, value=value, goal="a.png"), tmp_path
        )
    with pytest.raises(ValueError, match=r"a.png: cannot be read as the image of a goal"):
        run_benchmark(EvalConfig(policy=checkpoint, tasks=("place",), num_candidates=2, goal="a.png"), tmp_path)
    with pytest.raises(ValueError, match="no value model 'nowhere': neither a folder"):
        run_benchmark(
            EvalConfig(policy=checkpoint, tasks=("place",), num_candidates=2, value="nowhere"), tmp_path / "out"
        )
    other = save_value(tmp_path / "other", "overhead")
    with pytest.raises(ValueError, match="trained for images of camera 'overhead', and these are of 'front'"):
        run_benchmark(
            EvalConfig(policy=checkpoint, tasks=("place",), num_candidates=2, value=other), tmp_path / "camera"
        )
    with pytest.raises(ValueError, match="policy expert has no candidates"):
        run_benchmark(EvalConfig(policy="expert", tasks=("place",), num_candidates=2, value=value), tmp_path)
