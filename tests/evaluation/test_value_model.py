from __future__ import annotations

import json

import numpy as np
import pytest
import tiny
import torch

from wla.data.lerobot.reader import LeRobotDataset
from wla.data.lerobot.writer import DatasetWriter
from wla.data.value_targets import ValueTargetFrames
from wla.evaluation.configs import ValueEvalConfig
from wla.evaluation.value_model import evaluate_value
from wla.models.configs import ValueConfig
from wla.models.value_model import ValueModel, discounted_return
from wla.policy.value_checkpoint import ValueCheckpoint, ValueCheckpointConfig


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    root = tmp_path_factory.mktemp("value")
    torch.manual_seed(0)
    backbone = tiny.model_config().backbone.replace(cameras={"front": 32})
    model = ValueModel(ValueConfig(backbone=backbone))
    ValueCheckpoint(ValueCheckpointConfig(model=model.config, prompt=tiny.PROMPT), model, tiny.tokenizer()).save(
        root / "value"
    )
    tiny.write_dataset(root / "rollouts", episodes=4)
    return root


def metrics_for(paths, monkeypatch, tmp_path, rule):
    """Metrics of a value model whose scores follow from the true values by `rule`."""
    frames = ValueTargetFrames(LeRobotDataset(paths / "rollouts"), "front")
    values = discounted_return(torch.from_numpy(frames.success), torch.from_numpy(frames.steps_to_go), 0.98).numpy()
    true_value = {
        image.tobytes(): value for image, value in zip(frames.images[np.arange(len(frames))], values, strict=True)
    }

    def score(self, frame_contexts, images):
        return np.array([rule(true_value[image.tobytes()]) for image in images], np.float32)

    monkeypatch.setattr(ValueCheckpoint, "score", score)
    config = ValueEvalConfig(value=str(paths / "value"), datasets=(str(paths / "rollouts"),))
    return evaluate_value(config, tmp_path / "out")


def test_perfect_scores(paths, monkeypatch, tmp_path):
    found = metrics_for(paths, monkeypatch, tmp_path, lambda value: value)
    assert (found.episodes, found.successes, found.n) == (4, 2, 40)
    assert found.error == found.calibration_error == 0
    assert found.rank_correlation == pytest.approx(1, abs=1e-3)
    assert found.auroc_by_episode_quarter == (1, 1, 1, 1)
    assert found.auroc_middle == (1, 1)
    middle = found.auroc_intervals["auroc_middle"][0]
    assert (middle.estimate, middle.kind, middle.n) == (1, "by episode", 4)
    assert middle.low < 0.6  # two successes and two failures, however many frames
    assert found.auroc_by_dataset == {str(paths / "rollouts"): (1, 1, 1, 1)}
    assert json.loads((tmp_path / "out" / "value.json").read_text())["n"] == 40
    assert (tmp_path / "out" / "value.png").stat().st_size > 1000


def test_inverted_scores(paths, monkeypatch, tmp_path):
    found = metrics_for(paths, monkeypatch, tmp_path, lambda value: 1 - value)
    assert found.rank_correlation == pytest.approx(-1, abs=1e-3)
    assert found.auroc_by_episode_quarter == (0, 0, 0, 0)
    assert found.calibration_error > 0.8


def test_a_constant_score_is_calibrated_at_best_and_has_no_auroc(paths, monkeypatch, tmp_path):
    mean = 0.5 * np.mean(0.98 ** np.arange(10))
    found = metrics_for(paths, monkeypatch, tmp_path, lambda _: mean)
    assert found.calibration_error == pytest.approx(0, abs=1e-3)
    assert found.auroc_by_episode_quarter == (0.5, 0.5, 0.5, 0.5)
    assert found.error > 0.4


def test_scores_that_only_separate_datasets_have_no_auroc_within_them(paths, monkeypatch, tmp_path):
    tiny.write_dataset(tmp_path / "two" / "hard", episodes=5)  # one more success than failures
    tiny.write_dataset(tmp_path / "two" / "easy", episodes=4)
    scores = iter([0.9, 0.1])  # datasets are scored one after the other, each in one batch
    monkeypatch.setattr(
        ValueCheckpoint, "score", lambda self, frame_contexts, images: np.full(len(images), next(scores), np.float32)
    )
    found = evaluate_value(
        ValueEvalConfig(value=str(paths / "value"), datasets=(str(tmp_path / "two"),)), tmp_path / "o"
    )
    assert all(rates == (0.5, 0.5, 0.5, 0.5) for rates in found.auroc_by_dataset.values())
    assert found.auroc_by_episode_quarter != (0.5, 0.5, 0.5, 0.5)


def test_longer_failures_are_compared_at_equal_elapsed_time(paths, monkeypatch, tmp_path):
    lengths = {True: 8, False: 16}
    steps = {}
    with DatasetWriter(tmp_path / "long", tiny.robot_spec(), with_actions=False) as writer:
        for episode in range(4):
            for step in range(lengths[episode % 2 == 0]):
                observation = tiny.observation(100 * episode + step)
                writer.add_frame(observation.images, observation.state, None, tiny.SUBTASKS[0])
            writer.end_episode(tiny.INSTRUCTIONS[0], keep=True, seed=episode, success=episode % 2 == 0)
    dataset = LeRobotDataset(tmp_path / "long")
    for index, image in enumerate(dataset.frames("front")):
        steps[image.tobytes()] = index - dataset.episode_of(index).start
    monkeypatch.setattr(
        ValueCheckpoint,
        "score",
        lambda self, frame_contexts, images: np.array([steps[i.tobytes()] / 16 for i in images], np.float32),
    )
    config = ValueEvalConfig(value=str(paths / "value"), datasets=(str(tmp_path / "long"),))
    found = evaluate_value(config, tmp_path / "out")
    assert found.auroc_by_elapsed_time == (0.5, 0.5, 0.5, 0.5)
    assert max(found.auroc_by_episode_quarter) < 0.5
    assert found.auroc_middle[0] < found.auroc_middle[1] == 0.5
