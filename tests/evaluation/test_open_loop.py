from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import tiny

from wla.cli.main import main
from wla.data.dataset_config import DatasetConfig
from wla.data.lerobot.columns import Columns
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.lerobot.writer import DatasetWriter
from wla.evaluation.configs import OpenLoopConfig
from wla.evaluation.open_loop import evaluate_open_loop, has_motion, psnr
from wla.policy.checkpoint import save_checkpoint
from wla.policy.training_data import TrainingData
from wla.policy.wla_policy import WLAPolicy
from wla.rollout.recorded_episodes import load_with_dataset
from wla.types import ActionChunk


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    root = tmp_path_factory.mktemp("held_out")
    save_checkpoint(tiny.checkpoint(), root / "policy")
    tiny.write_dataset(root / "data", length=12)
    return str(root / "policy"), root / "data"


@pytest.fixture(autouse=True)
def one_text(monkeypatch):
    """Policies that predict text always predict the same: an untrained one may predict none."""
    monkeypatch.setattr(
        WLAPolicy, "subtasks", lambda self, encoding, index: ("wait",) if self.predicts_subtasks else ()
    )


def save_without_text(folder):
    checkpoint = tiny.checkpoint()
    prompt = tiny.PROMPT.replace(language=False)
    save_checkpoint(replace(checkpoint, config=checkpoint.config.replace(prompt=prompt)), folder)
    return str(folder)


def evaluate(policy, dataset, **options):
    return evaluate_open_loop(OpenLoopConfig(policy=policy, dataset=dataset, **options))


def test_an_untrained_policy_scores_badly(paths):
    found = evaluate(*paths)
    assert (found.episodes, found.calls) == (2, 6)  # at steps 0, 4 and 8
    assert found.subtasks.exact.estimate == 0
    assert found.subtasks.exact.high > 0.2  # two episodes leave a wide interval
    assert found.subtasks.edit_score.estimate < 1
    assert found.action_error.mean > 1
    assert found.moving_frames == 4  # the episode ends with the last chunk
    assert found.imagined_psnr is not None
    assert found.not_measured == {}
    assert json.loads(found.to_json())["subtasks"]["windows"] == 6


def test_a_policy_that_copies_the_expert_scores_perfectly(paths, monkeypatch):
    policy, root = paths
    dataset = LeRobotDataset(root)

    def oracle(self, observations, states, *, imagine):
        answers = []
        for observation, state in zip(observations, states, strict=True):
            episode = dataset.episodes[state.seed]
            t, last = episode.start + state.env_step, episode.end - 1
            steps = [min(t + i, last) for i in range(tiny.CHUNK + 1)]
            subtasks = tuple(dict.fromkeys(dataset.subtask_texts[dataset.subtasks[step]] for step in steps))
            chunk = ActionChunk(dataset.actions[steps[:-1]], subtasks, dataset.frames("front")[steps[-1]])
            answers.append((chunk, self.advance_state(subtasks, observation, state)))
        return answers

    monkeypatch.setattr(WLAPolicy, "act_batch", oracle)
    found = evaluate(policy, root)
    assert found.subtasks.exact.estimate == found.subtasks.current.estimate == 1
    assert found.subtasks.edit_score.estimate == found.subtasks.memory_strict.estimate == 1
    assert found.subtasks.transition_f1 == 1
    assert found.action_error.mean == pytest.approx(0, abs=1e-4)
    assert found.imagined_psnr.mean == 60
    assert found.copy_baseline_psnr.mean < 20


def test_without_subtask_labels_actions_and_images_are_still_compared(paths, tmp_path):
    tiny.write_dataset(tmp_path / "data", length=12, subtasks=False)
    found = evaluate(paths[0], tmp_path / "data")
    assert found.subtasks is None
    assert found.not_measured == {"subtasks": "the dataset has no subtask labels"}
    assert found.action_error.mean > 1
    assert found.imagined_psnr is not None


def test_a_policy_without_text_is_not_scored_on_text(paths, tmp_path):
    found = evaluate(save_without_text(tmp_path / "policy"), paths[1])
    assert found.subtasks is None
    assert found.not_measured == {"subtasks": "no subtasks were predicted"}
    assert found.action_error.mean > 1


def test_without_actions_text_and_images_are_still_compared(paths, tmp_path):
    tiny.write_dataset(tmp_path / "data", length=12, with_actions=False)
    found = evaluate(paths[0], tmp_path / "data")
    assert found.action_error is None
    assert found.not_measured == {"action_error": "the dataset has no actions"}
    assert found.subtasks.windows == 6


def test_frames_without_a_label_are_not_compared(paths, tmp_path):
    with DatasetWriter(tmp_path / "data", tiny.robot_spec()) as writer:
        for step in range(12):
            seen = tiny.observation(step)
            writer.add_frame(seen.images, seen.state, np.zeros(2, np.float32), tiny.SUBTASKS[0] if step < 6 else "")
        writer.end_episode(tiny.INSTRUCTIONS[0], keep=True)
    found = evaluate(paths[0], tmp_path / "data")
    assert (found.calls, found.subtasks.windows) == (3, 2)


def test_actions_that_were_not_executed_end_the_comparison_of_a_chunk(paths, tmp_path, monkeypatch):
    """The recorded actions of later frames answer the motion that was executed instead."""
    monkeypatch.setattr(LeRobotDataset, "action_executed", property(lambda dataset: np.arange(len(dataset)) % 2 == 0))
    dataset = LeRobotDataset(paths[1])

    def wrong_later(self, observations, states, *, imagine):
        answers = []
        for observation, state in zip(observations, states, strict=True):
            t = dataset.episodes[state.seed].start + state.env_step
            actions = dataset.actions[t : t + tiny.CHUNK].copy()
            actions[2:] = 1
            answers.append((ActionChunk(actions), self.advance_state((), observation, state)))
        return answers

    monkeypatch.setattr(WLAPolicy, "act_batch", wrong_later)
    assert evaluate(*paths).action_error.mean == pytest.approx(0, abs=1e-4)


def test_images_of_another_size_than_the_imagined_ones_are_resized(tmp_path):
    config = tiny.checkpoint().config
    spec = tiny.robot_spec()
    large = spec.replace(observation=spec.observation.replace(cameras={"front": (64, 64), "wrist": (48, 64)}))
    save_checkpoint(replace(tiny.checkpoint(), config=config, robots=tiny.policy_robots(large)), tmp_path / "policy")
    rng = np.random.default_rng(0)
    with DatasetWriter(tmp_path / "data", large) as writer:
        for _ in range(12):
            sizes = large.observation.cameras
            images = {name: rng.integers(0, 256, (*size, 3), np.uint8) for name, size in sizes.items()}
            writer.add_frame(images, np.zeros(3, np.float32), np.zeros(2, np.float32), "wait")
        writer.end_episode("wait", keep=True)
    found = evaluate(str(tmp_path / "policy"), tmp_path / "data")
    assert found.moving_frames > 0
    assert found.copy_baseline_psnr is not None


def test_baselines_have_an_action_error(paths):
    random, zero = evaluate("random", paths[1]), evaluate("zero", paths[1])
    assert random.calls == zero.calls == 24
    assert random.action_error.mean > 0 < zero.action_error.mean
    assert set(zero.not_measured) == {"subtasks", "images"}
    with pytest.raises(ValueError, match="the expert acts in a simulator"):
        evaluate("expert", paths[1])


def test_a_dataset_without_a_robot_file_is_read_as_the_policys(paths, tmp_path):
    tiny.write_dataset(tmp_path / "data", length=12)
    (tmp_path / "data" / "meta" / "wla_robot.json").unlink()
    assert evaluate(paths[0], tmp_path / "data").action_error.mean > 1
    with pytest.raises(ValueError, match="does not state its robot"):
        evaluate("zero", tmp_path / "data")


def test_an_action_without_a_range_does_not_count(paths, tmp_path):
    spec = tiny.robot_spec()
    fixed = spec.replace(action=spec.action.replace(low=(-0.1, 0.5), high=(0.1, 0.5)))
    save_checkpoint(replace(tiny.checkpoint(), robots=tiny.policy_robots(fixed)), tmp_path / "policy")
    with DatasetWriter(tmp_path / "data", fixed) as writer:
        for step in range(12):
            seen = tiny.observation(step)
            writer.add_frame(seen.images, seen.state, np.array([0, 0.5], np.float32), "wait")
        writer.end_episode("wait", keep=True)
    found = evaluate(str(tmp_path / "policy"), tmp_path / "data")
    assert np.isfinite(found.action_error.mean)
    json.loads(found.to_json())


def test_nothing_to_compare_is_an_error(tmp_path):
    policy = save_without_text(tmp_path / "policy")
    tiny.write_dataset(tmp_path / "data", with_actions=False)
    with pytest.raises(ValueError, match=r"nothing to compare policy .* the dataset has no actions"):
        evaluate(policy, tmp_path / "data", imagine=False)


def test_an_instruction_that_the_policy_refuses_names_the_episode(tmp_path):
    save_checkpoint(
        replace(
            tiny.checkpoint(), config=tiny.checkpoint().config.replace(prompt=tiny.PROMPT.replace(instruction_tokens=1))
        ),
        tmp_path / "policy",
    )
    tiny.write_dataset(tmp_path / "data")
    with pytest.raises(ValueError, match=r"data episode 0: the instruction has \d+ tokens"):
        evaluate(str(tmp_path / "policy"), tmp_path / "data")


def test_datasets_of_different_robots_are_refused(paths, tmp_path):
    policy, _ = paths
    other = tiny.robot_spec().replace(embodiment="other")
    with DatasetWriter(tmp_path / "data", other) as writer:
        for _ in range(2):
            observation = tiny.observation()
            writer.add_frame(observation.images, observation.state, np.zeros(2, np.float32), "wait")
        writer.end_episode("wait", keep=True)
    with pytest.raises(ValueError, match="different robots: embodiment"):
        evaluate(policy, tmp_path / "data")


def test_psnr_and_motion():
    black, white = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)
    assert psnr(black, white) == 0
    assert psnr(black, black) == 60
    assert psnr(black, black + 16) == pytest.approx(20 * np.log10(255 / 16))
    assert has_motion(black, white)
    assert not has_motion(black, black + 10)


def ramp(folder, episodes=4, length=12):
    """A dataset whose first action is the step's number and whose second one, absolute, changes once."""
    with DatasetWriter(folder, tiny.robot_spec()) as writer:
        for _ in range(episodes):
            for step in range(length):
                seen = tiny.observation(step)
                action = np.array([0.01 * step, 0.05 if step < 6 else -0.05], np.float32)
                writer.add_frame(seen.images, seen.state, action)
            writer.end_episode(tiny.INSTRUCTIONS[0], keep=True)
    return folder


def predict(monkeypatch, actions):
    """Policies predict these actions at every call."""

    def act_batch(self, observations, states, *, imagine):
        return [
            (ActionChunk(np.float32(actions)), self.advance_state((), observation, state))
            for observation, state in zip(observations, states, strict=True)
        ]

    monkeypatch.setattr(WLAPolicy, "act_batch", act_batch)


def test_each_dimension_has_an_error_beside_holding_still_and_the_mean_action(paths, tmp_path, monkeypatch):
    """dx is a change, so that holding still is 0; the gripper is a target, so that it is the last one."""
    root = ramp(tmp_path / "data")
    predict(monkeypatch, np.tile([0.0, 0.05], (tiny.CHUNK, 1)))
    first, second = evaluate(paths[0], root).dimensions
    steps = np.arange(12)
    assert (first.name, first.unit) == ("dx", "m/step")
    assert first.policy.mean == first.hold_still == pytest.approx(0.01 * steps.mean())
    assert first.mean_action == pytest.approx(0.01 * np.abs(steps - steps.mean()).mean())
    assert second.policy.mean == pytest.approx(0.05)  # wrong in half of the steps, by 0.1
    assert second.hold_still == pytest.approx(0.1 * 2 / 12)  # of the chunk 4 .. 7, the last two
    assert second.mean_action == pytest.approx(0.05)
    assert not first.best
    assert first.policy.interval.n == 4


def test_a_chunk_counts_up_to_the_end_of_its_episode(paths, tmp_path, monkeypatch):
    root = ramp(tmp_path / "data", length=10)  # calls at 0, 4 and 8, where two steps are left
    predict(monkeypatch, np.tile([0.0, 0.0], (tiny.CHUNK, 1)))
    first, _ = evaluate(paths[0], root).dimensions
    assert first.policy.mean == pytest.approx(0.01 * np.mean([1.5, 5.5, 8.5]))


def test_episodes_that_the_policy_was_trained_on_are_left_out(tmp_path):
    root = ramp(tmp_path / "data")
    tiny.write_dataset(tmp_path / "own", episodes=4, length=12)
    source = DatasetConfig(path=str(tmp_path / "own"), validation_episodes="3:4")
    record = TrainingData.of([(source, LeRobotDataset(tmp_path / "own"))], None)
    save_checkpoint(replace(tiny.checkpoint(), training_data=record), tmp_path / "policy")
    found = evaluate(str(tmp_path / "policy"), tmp_path / "own")
    assert (found.episodes, found.trained_episodes) == (1, 3)
    assert (evaluate(str(tmp_path / "policy"), root).trained_episodes) == 0
    all_of_it = TrainingData.of([(DatasetConfig(path="own"), LeRobotDataset(tmp_path / "own"))], None)
    save_checkpoint(replace(tiny.checkpoint(), training_data=all_of_it), tmp_path / "greedy")
    with pytest.raises(ValueError, match="was trained on all of its 4 episodes; name another dataset"):
        evaluate(str(tmp_path / "greedy"), tmp_path / "own")


def test_a_checkpoint_that_does_not_state_its_episodes_says_so(paths, tmp_path, capsys):
    assert evaluate(*paths).trained_episodes is None
    words = ["eval-offline", paths[0], "--dataset", str(paths[1]), "--out", str(tmp_path / "offline")]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "its checkpoint does not say" in printed
    assert re.search(r"holding still +mean action", printed)
    files = {path.name for path in (tmp_path / "offline").iterdir()}
    assert {"offline.json", "errors.png", "episode_000000.png", "episode_000001.png"} <= files
    assert json.loads((tmp_path / "offline/offline.json").read_text())["dimensions"][0]["name"] == "dx"


def test_columns_and_cameras_are_read_as_in_training(tmp_path):
    """Another program's names, which the recipe stated: the checkpoint has them, and no option repeats them."""
    tiny.write_dataset(tmp_path / "own", episodes=4, length=12)
    columns = Columns(cameras={"front": "wrist", "wrist": "front"})
    source = DatasetConfig(path=str(tmp_path / "own"), columns=columns, validation_episodes="3:4")
    record = TrainingData.of([(source, source.open())], None)
    save_checkpoint(replace(tiny.checkpoint(), training_data=record), tmp_path / "policy")
    policy, dataset = load_with_dataset(str(tmp_path / "policy"), tmp_path / "own")
    assert dataset.columns == columns
    assert policy.training_data == record
