from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import tiny
from browser import CONTRAST, DESK, PHONE, needs_browser, opened, overflow

from wla.data.lerobot.reader import LeRobotDataset
from wla.data.lerobot.writer import DatasetWriter
from wla.data.transforms import resize
from wla.evaluation.configs import WorldEvalConfig
from wla.evaluation.world_metrics import MethodMetrics, WorldModelMetrics, table
from wla.evaluation.world_model import evaluate_world
from wla.evaluation.world_report import FrameImages, MethodImages, render_report
from wla.html import data_url, jpeg
from wla.intervals import Interval
from wla.models.wla import WLA
from wla.policy.checkpoint import CheckpointConfig, save_checkpoint
from wla.policy.wla_policy import WLAPolicy, load_policy


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    save_checkpoint(tiny.checkpoint(), root / "policy")
    tiny.write_dataset(root / "data", length=16)
    return str(root / "policy"), root / "data"


def frame(dataset, state) -> int:
    """The frame at which a policy has this state: episodes of `tiny.write_dataset` have their index as seed."""
    return dataset.episodes[state.seed].start + state.env_step


def save_action_conditioned(folder):
    model = WLA(tiny.action_conditioned_config()).eval()
    config = CheckpointConfig(model=model.config, prompt=tiny.PROMPT)
    save_checkpoint(replace(tiny.checkpoint(), config=config, model=model), folder)


def rows(metrics):
    return {row.method: row for row in metrics.rows}


def test_evaluation_writes_metrics_and_a_report(paths, tmp_path):
    policy, dataset = paths
    config = WorldEvalConfig(
        policy=policy, dataset=dataset, frames=5, samples=3, flow_steps=(4, 1), num_report_frames=2
    )
    metrics = evaluate_world(config, tmp_path / "out")
    assert metrics.n == 5
    assert list(rows(metrics)) == [
        "imagined, 4 steps",
        "imagined, 4 steps, best of 3",
        "imagined, 1 step",
        "imagined, 1 step, best of 3",
        "copy baseline (current frame)",
        "codec reconstruction (upper bound)",
    ]
    assert json.loads((tmp_path / "out" / "world.json").read_text())["changed_frames"] == metrics.changed_frames > 0
    page = (tmp_path / "out" / "world.html").read_text(encoding="utf-8")
    assert page.count('class="sheet"') == 2
    assert page.count('class="imagined"') == 2 * 3
    assert "codec reconstruction (upper bound)" in table(metrics)


def test_the_best_sample_beats_the_mean_of_the_samples(paths, tmp_path):
    policy, dataset = paths
    found = rows(evaluate_world(WorldEvalConfig(policy=policy, dataset=dataset, frames=5, samples=3), tmp_path / "out"))
    mean, best = found["imagined, 2 steps"], found["imagined, 2 steps, best of 3"]
    assert best.psnr > mean.psnr
    assert best.changed_distance < mean.changed_distance


def test_a_policy_that_predicts_the_ground_truth_scores_perfectly(paths, tmp_path, monkeypatch):
    policy, root = paths
    dataset = LeRobotDataset(root)

    def oracle(self, encoding, *, samples, flow_steps, actions):
        later = dataset.frames("front")[np.array([frame(dataset, state) + tiny.CHUNK for state in encoding.states])]
        return resize(later, self.model.config.target_side).numpy()[:, None].repeat(samples, 1)

    monkeypatch.setattr(WLAPolicy, "predict_images", oracle)
    metrics = evaluate_world(
        WorldEvalConfig(policy=policy, dataset=root, frames=5, samples=2, flow_steps=(1,)), tmp_path / "out"
    )
    found = rows(metrics)["imagined, 1 step"]
    assert (found.psnr, found.changed_psnr) == (60, 60)
    copied = rows(metrics)["copy baseline (current frame)"]
    assert copied.changed_psnr < 30
    assert found.above_copy is not None
    assert found.above_copy.estimate == pytest.approx(found.changed_psnr - copied.changed_psnr, abs=1e-3)
    assert found.above_copy.n == 2  # episodes, not frames
    assert "paired by episode, of these runs, n = 2 episodes" in table(metrics)
    assert metrics.sample_std == {"imagined, 1 step": 0}


def test_an_action_conditioned_policy_is_also_given_its_own_and_recorded_chunks(paths, tmp_path, monkeypatch):
    _, root = paths
    save_action_conditioned(tmp_path / "policy")
    dataset, calls = LeRobotDataset(root), []
    predict_images = WLAPolicy.predict_images

    def recording(self, encoding, **options):
        calls.append((encoding, options["actions"]))
        return predict_images(self, encoding, **options)

    monkeypatch.setattr(WLAPolicy, "predict_images", recording)
    config = WorldEvalConfig(policy=str(tmp_path / "policy"), dataset=root, frames=3, samples=2, flow_steps=(1,))
    found = rows(evaluate_world(config, tmp_path / "out"))
    assert [method for method in found if "best" not in method][:4] == [
        "imagined, 1 step",
        "action-conditioned (own chunk), 1 step",
        "action-conditioned (recorded chunk), 1 step",
        "action-conditioned (another frame's chunk), 1 step",
    ]
    page = (tmp_path / "out" / "world.html").read_text(encoding="utf-8")
    assert page.count('class="sheet"') == 3
    assert page.count('class="imagined"') == 3 * 4 * 2  # frames, methods, samples
    assert all(actions is None for _, actions in calls[::4])
    own = np.concatenate([actions for _, actions in calls[1::4]])
    assert own.shape == (3, 2, tiny.CHUNK, tiny.ACTION)
    assert len({chunk.tobytes() for chunk in own.reshape(6, -1)}) == 6
    for (encoding, recorded), (_, others) in zip(calls[2::4], calls[3::4], strict=True):
        for state, chunks, elsewhere in zip(encoding.states, recorded, others, strict=True):
            start = frame(dataset, state)
            for chunk, other in zip(chunks, elsewhere, strict=True):
                np.testing.assert_array_equal(chunk, dataset.actions[start : start + tiny.CHUNK])
                assert not np.array_equal(chunk, other)


@pytest.mark.parametrize("follows", [True, False])
def test_images_follow_actions_if_those_of_another_frame_make_them_worse(paths, tmp_path, monkeypatch, follows):
    _, root = paths
    save_action_conditioned(tmp_path / "policy")
    dataset = LeRobotDataset(root)

    def later(self, encoding, *, samples, flow_steps, actions):
        """The frame after the recorded actions, wherever these were taken, or after those of the call."""
        starts = [frame(dataset, state) for state in encoding.states]
        if actions is not None and follows:
            windows = np.lib.stride_tricks.sliding_window_view(dataset.actions, tiny.CHUNK, axis=0).swapaxes(1, 2)
            starts = [int(np.abs(windows - chunk[0]).sum((1, 2)).argmin()) for chunk in actions]
        images = dataset.frames("front")[np.array(starts) + tiny.CHUNK]
        return resize(images, self.model.config.target_side).numpy()[:, None].repeat(samples, 1)

    monkeypatch.setattr(WLAPolicy, "predict_images", later)
    config = WorldEvalConfig(policy=str(tmp_path / "policy"), dataset=root, frames=4, samples=1, flow_steps=(1,))
    metrics = evaluate_world(config, tmp_path / "out")
    assert metrics.follows_actions is not None
    assert metrics.follows_actions.n == 2
    assert metrics.follows_actions.estimate > 20 if follows else metrics.follows_actions.estimate == 0
    assert "images follow the actions" in table(metrics)


def test_samples_differ_and_the_first_is_the_image_of_acting(paths):
    policy = load_policy(paths[0], imagination=True)
    observation, state = tiny.observation(), policy.reset("press the button", seed=5)
    images = policy.predict_images(policy.encode([observation], [state]), samples=3)
    assert images.shape == (1, 3, 32, 32, 3)
    assert len({image.tobytes() for image in images[0]}) == 3
    chunk, _ = policy.act(observation, state, imagine=True)
    np.testing.assert_array_equal(chunk.subgoal, images[0, 0])


def test_flow_steps_replace_the_number_of_the_policy(paths):
    policy = load_policy(paths[0], imagination=True)
    observation, state = tiny.observation(), policy.reset("press the button", seed=5)
    own, same, other = (
        policy.predict_images(policy.encode([observation], [state]), flow_steps=flow_steps)
        for flow_steps in (None, 2, 5)
    )
    np.testing.assert_array_equal(own, same)
    assert not np.array_equal(own, other)


def test_candidates_in_robot_units_get_an_image_each(tmp_path):
    save_action_conditioned(tmp_path / "policy")
    policy = load_policy(tmp_path / "policy", imagination=True)
    observation, state = tiny.observation(), policy.reset("press the button")
    candidates = np.zeros((1, 3, tiny.CHUNK, tiny.ACTION), np.float32)
    candidates[0, 1] = 0.1
    first, second, third = policy.predict_images(policy.encode([observation], [state]), samples=3, actions=candidates)[
        0
    ]
    alone = policy.predict_images(policy.encode([observation], [state]), actions=candidates[:, :1])[0, 0]
    np.testing.assert_array_equal(first, alone)
    other = policy.predict_images(policy.encode([observation], [state]), actions=candidates[:, 1:2])[0, 0]
    assert not np.array_equal(other, alone)  # same noise, different candidate
    assert not np.array_equal(second, third)


def test_actions_for_a_policy_without_action_conditioning_are_refused(paths):
    policy = load_policy(paths[0], imagination=True)
    actions = np.zeros((1, 1, tiny.CHUNK, tiny.ACTION), np.float32)
    with pytest.raises(ValueError, match="does not imagine what given actions lead to"):
        policy.predict_images(policy.encode([tiny.observation()], [policy.reset("press the button")]), actions=actions)


def test_policies_loaded_without_imagination_are_refused(paths):
    policy = load_policy(paths[0])
    with pytest.raises(ValueError, match="loaded without imagination"):
        policy.predict_images(policy.encode([tiny.observation()], [policy.reset("press the button")]))


def test_short_episodes_and_different_robots_are_refused(paths, tmp_path):
    policy, _ = paths

    def record(name: str, spec) -> WorldEvalConfig:
        with DatasetWriter(tmp_path / name, spec) as writer:
            for _ in range(tiny.CHUNK):
                observation = tiny.observation()
                writer.add_frame(observation.images, observation.state, np.zeros(2, np.float32), "wait")
            writer.end_episode("wait", keep=True)
        return WorldEvalConfig(policy=policy, dataset=tmp_path / name)

    with pytest.raises(ValueError, match="no episode is longer than 4 frames"):
        evaluate_world(record("short", tiny.robot_spec()), tmp_path / "out")
    other = tiny.robot_spec().replace(embodiment="other")
    with pytest.raises(ValueError, match="different robots: embodiment"):
        evaluate_world(record("other", other), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, 820, DESK])
def test_numbers_and_images_fit_and_are_readable(tmp_path, width, dark):
    above = Interval(-1.25, -12.5, 10.25, "paired by episode", 3)
    names = (
        "imagined, 1 step, best of 3",
        "action-conditioned (recorded chunk), 1 step",
        "copy baseline (current frame)",
    )
    rows = [
        MethodMetrics(
            method=name, psnr=23.1, ssim=0.5, distance=0.513, changed_psnr=15.0, changed_ssim=0.25,
            changed_distance=1.655, above_copy=above,
        )
        for name in names
    ]  # fmt: skip
    metrics = WorldModelMetrics(
        policy="a/checkpoint", checkpoint_sha256="ab" * 32, dataset="datasets/held_out", n=9, changed_frames=8,
        samples=3, rows=rows, sample_std={names[0]: 2.5},
    )  # fmt: skip
    image = data_url(jpeg(np.zeros((96, 96, 3), np.uint8), 96))
    sheet = FrameImages("press: episode 0, frame 3", image, image, [MethodImages(n, [image] * 3, image) for n in names])
    (tmp_path / "world.html").write_text(render_report(metrics, [sheet]), encoding="utf-8")
    with opened(tmp_path / "world.html", width=width, dark=dark) as page:
        assert overflow(page) <= 0
        assert page.evaluate(CONTRAST) == []
        outside = "cells => cells.filter(cell => cell.scrollWidth > cell.clientWidth + 1).length"
        assert page.locator("tbody td").evaluate_all(outside) == 0
        assert page.locator("tbody td.gain").first.inner_text().endswith("-12.5 .. +10.2")
