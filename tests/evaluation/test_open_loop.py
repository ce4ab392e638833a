from __future__ import annotations

import numpy as np
import pytest
import tiny

from wla.data.lerobot.writer import DatasetWriter
from wla.evaluation.configs import OpenLoopConfig
from wla.evaluation.open_loop import evaluate_open_loop, has_motion, psnr
from wla.policy.checkpoint import save_checkpoint
from wla.policy.wla_policy import WLAPolicy
from wla.types import ActionChunk


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    root = tmp_path_factory.mktemp("held_out")
    save_checkpoint(tiny.checkpoint(), root / "policy")
    tiny.write_dataset(root / "data")
    return str(root / "policy"), root / "data"


def test_an_untrained_policy_scores_badly(paths):
    policy, dataset = paths
    found = evaluate_open_loop(OpenLoopConfig(policy=policy, dataset=dataset, frames=7))
    assert found.n == 7
    assert found.subtask_exact_match == 0
    assert found.subtask_exact_match_interval.high > 0.2  # seven frames leave a wide interval
    assert found.subtask_exact_match_interval.n == 2  # episodes, not frames
    assert found.action_error > 1
    assert found.moving_frames > 0
    assert found.imagined_psnr is not None


def test_a_policy_that_copies_the_expert_scores_perfectly(paths, monkeypatch):
    policy, root = paths
    from wla.data.lerobot.reader import LeRobotDataset

    dataset = LeRobotDataset(root)

    def oracle(self, observations, states, *, imagine):
        predictions = []
        for state in states:
            t = state.seed
            last = dataset.episode_of(t).end - 1
            steps = [min(t + i, last) for i in range(tiny.CHUNK)]
            subtasks = dict.fromkeys(tiny.SUBTASKS[2 * (min(i, last) % 10) // 10] for i in [*steps, min(t + 4, last)])
            image = dataset.frames("front")[min(t + tiny.CHUNK, last)]
            predictions.append((ActionChunk(dataset.actions[steps], tuple(subtasks), image), state))
        return predictions

    monkeypatch.setattr(WLAPolicy, "act_batch", oracle)
    found = evaluate_open_loop(OpenLoopConfig(policy=policy, dataset=root, frames=20))
    assert found.subtask_exact_match == 1
    assert found.action_error == pytest.approx(0, abs=1e-4)
    assert found.imagined_psnr == 60
    assert found.copy_baseline_psnr < 20


def test_datasets_of_different_robots_are_refused(paths, tmp_path):
    policy, _ = paths
    other = tiny.robot_spec().replace(embodiment="other")
    with DatasetWriter(tmp_path / "data", other) as writer:
        for _ in range(2):
            observation = tiny.observation()
            writer.add_frame(observation.images, observation.state, np.zeros(2, np.float32), "wait")
        writer.end_episode("wait", keep=True)
    with pytest.raises(ValueError, match="different robots: embodiment"):
        evaluate_open_loop(OpenLoopConfig(policy=policy, dataset=tmp_path / "data"))


def test_datasets_without_actions_are_refused(paths, tmp_path):
    policy, _ = paths
    tiny.write_dataset(tmp_path / "data", with_actions=False)
    with pytest.raises(ValueError, match=r"data: has no actions to compare with; use a dataset that .wla collect"):
        evaluate_open_loop(OpenLoopConfig(policy=policy, dataset=tmp_path / "data"))


def test_psnr_and_motion():
    black, white = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)
    assert psnr(black, white) == 0
    assert psnr(black, black) == 60
    assert psnr(black, black + 16) == pytest.approx(20 * np.log10(255 / 16))
    assert has_motion(black, white)
    assert not has_motion(black, black + 10)
