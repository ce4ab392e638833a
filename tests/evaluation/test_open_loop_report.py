"""The page of an open-loop evaluation shows what the policy read, predicted and imagined beside the recording."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import tiny_qwen

from wla.data.lerobot.writer import DatasetWriter
from wla.evaluation.configs import OpenLoopConfig
from wla.evaluation.open_loop import evaluate_open_loop
from wla.evaluation.open_loop_report import MAX_CALLS, MAX_EPISODES
from wla.policy.checkpoint import Checkpoint, save_checkpoint
from wla.policy.wla_policy import WLAPolicy


def page_of(checkpoint: Checkpoint, root: Path, *, episodes: int = 2, length: int = 9) -> str:
    save_checkpoint(checkpoint, root / "policy")
    spec = checkpoint.robot.spec
    rng = np.random.default_rng(0)
    with DatasetWriter(root / "data", spec) as writer:
        for _ in range(episodes):
            for step in range(length):
                sizes = spec.observation.cameras
                images = {name: rng.integers(0, 256, (*size, 3), np.uint8) for name, size in sizes.items()}
                state = rng.uniform(-1, 1, spec.observation.state_dim).astype(np.float32)
                action = rng.uniform(-0.1, 0.1, spec.action.dim).astype(np.float32)
                writer.add_frame(images, state, action, tiny.SUBTASKS[2 * step // length])
            writer.end_episode("press <b>& hold", keep=True)
    evaluate_open_loop(OpenLoopConfig(policy=str(root / "policy"), dataset=root / "data"), root / "out")
    return (root / "out/offline.html").read_text()


def captions(page: str) -> list[str]:
    return re.findall(r"<figcaption>(.*?)</figcaption>", page)


def test_it_shows_curves_subtasks_images_and_prompts(tmp_path, monkeypatch):
    monkeypatch.setattr(WLAPolicy, "subtasks", lambda self, encoding, index: ("turn the knob",))
    page = page_of(tiny.checkpoint(), tmp_path)
    assert re.findall(r'href="(episode_\d+\.png)"', page) == ["episode_000000.png", "episode_000001.png"]
    assert all(
        (tmp_path / "out" / name).is_file() for name in ("episode_000000.png", "episode_000001.png", "errors.png")
    )
    assert "predicted: turn the knob" in page
    assert f"label: {tiny.SUBTASKS[0]}; {tiny.SUBTASKS[1]}" in page
    assert captions(page)[:4] == ["reads front", "reads wrist", "imagines", "recorded then"]
    prompts = [
        html.unescape(text) for text in re.findall(r"<summary>prompt</summary><code>(.*?)</code>", page, re.DOTALL)
    ]
    assert "press <b>& hold" in prompts[0]
    assert prompts[0].count("<image>") == 1
    assert "<b>" not in page  # an instruction is text, never markup


def test_a_policy_that_reads_earlier_images_shows_them_and_its_text(tmp_path):
    """WLA-0's prompts contain the first frame, a frame of the past, and the previous subtask: as in training."""
    checkpoint = tiny_qwen.checkpoint(language=True, first=True)
    checkpoint = replace(checkpoint, config=checkpoint.config.replace(replan_steps=2))
    page = page_of(checkpoint, tmp_path, episodes=1)
    assert {"reads first front", "reads history front", "reads front"} <= set(captions(page))
    prompts = re.findall(r"<summary>prompt</summary><code>(.*?)</code>", page, re.DOTALL)
    assert "Previous subtask" in prompts[-1]
    images = [text.count("&lt;image&gt;") for text in prompts]
    assert images[0] < images[-1]  # at the first call there is no past yet


@pytest.mark.parametrize(("episodes", "length"), [(MAX_EPISODES + 2, 5), (1, 4 * MAX_CALLS * 2)])
def test_the_page_of_many_episodes_or_calls_stays_small(tmp_path, monkeypatch, episodes, length):
    monkeypatch.setattr(WLAPolicy, "subtasks", lambda self, encoding, index: ())
    page = page_of(tiny.checkpoint(), tmp_path, episodes=episodes, length=length)
    assert page.count("<article") == min(episodes, MAX_EPISODES)
    assert page.count('class="call"') <= MAX_EPISODES * MAX_CALLS
    assert page.count('class="call"') >= min(episodes, MAX_EPISODES)
