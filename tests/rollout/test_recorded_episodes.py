"""Replaying a recording builds the prompts of acting on the same observations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import tiny
import tiny_qwen
from fakes import TASK_VARIANT

from wla.data.lerobot.reader import LeRobotDataset
from wla.data.lerobot.writer import DatasetWriter
from wla.data.memory import MemoryConfig
from wla.evaluation.configs import OpenLoopConfig, WorldEvalConfig
from wla.evaluation.open_loop import evaluate_open_loop
from wla.evaluation.world_model import evaluate_world
from wla.policy.checkpoint import save_checkpoint
from wla.policy.model_inputs import InputBuilder
from wla.policy.wla_policy import load_policy
from wla.rollout.episode import run_episode

LENGTH = 8


class RecordedEnv:
    """An environment whose observations are those of a recorded episode, whatever the action."""

    def __init__(self, dataset, episode) -> None:
        self.robot_spec, self._dataset, self._episode = dataset.robot_spec, dataset, episode
        self._step = 0

    def reset(self, *, seed=None, options=None):
        return self._observe(), {"instruction": self._episode.instruction}

    def step(self, action):
        self._step += 1
        ended = self._step == len(self._episode) - 1
        return self._observe(), 0.0, False, ended, {"success": False}

    def close(self) -> None: ...

    def _observe(self):
        frame = self._episode.start + self._step
        images = {camera: self._dataset.frames(camera)[frame] for camera in self._dataset.cameras}
        return {"images": images, "state": self._dataset.state[frame]}


def nano_memory():
    checkpoint = tiny.checkpoint()
    prompt = tiny.PROMPT.replace(memory=MemoryConfig(tokens=400))
    return replace(checkpoint, config=checkpoint.config.replace(prompt=prompt, replan_steps=2))


def wla0(*, language: bool, first: bool):
    checkpoint = tiny_qwen.checkpoint(language=language, first=first)
    return replace(checkpoint, config=checkpoint.config.replace(replan_steps=2))


@pytest.fixture(
    params=[
        pytest.param(nano_memory, id="nano-memory"),
        pytest.param(lambda: wla0(language=True, first=True), id="WLA-0 with first frame, history and text"),
        pytest.param(
            lambda: wla0(language=True, first=False), id="WLA-0 with history and text", marks=pytest.mark.slow
        ),
        pytest.param(lambda: wla0(language=False, first=False), id="WLA-0 with history", marks=pytest.mark.slow),
    ]
)
def paths(request, tmp_path):
    checkpoint = request.param()
    save_checkpoint(checkpoint, tmp_path / "policy")
    rng = np.random.default_rng(0)
    with DatasetWriter(tmp_path / "data", checkpoint.robot.spec) as writer:
        for seed in (7, 8):
            for step in range(LENGTH):
                images = {
                    camera: rng.integers(0, 256, (*size, 3), dtype=np.uint8)
                    for camera, size in checkpoint.robot.spec.observation.cameras.items()
                }
                state = rng.uniform(-1, 1, 3).astype(np.float32)
                writer.add_frame(images, state, np.zeros(2, np.float32), tiny.SUBTASKS[step * 2 // LENGTH])
            writer.end_episode(tiny.INSTRUCTIONS[seed - 7], keep=True, seed=seed)
    return tmp_path


@pytest.fixture
def built(monkeypatch) -> Iterator[dict]:
    """(seed, step) -> prompt tokens, texts, state and images of the inputs built at that step of that episode."""
    found: dict = {}
    build = InputBuilder.build

    def recording(self, observations, states):
        inputs = build(self, observations, states)
        for row, state in enumerate(states):
            images = {name: images[row].numpy().tobytes() for name, images in inputs.images.items()}
            found[state.seed, state.env_step] = (
                inputs.prompts[row],
                inputs.texts[row],
                inputs.proprio[row].tolist(),
                images,
                state.num_calls,
            )
        return inputs

    monkeypatch.setattr(InputBuilder, "build", recording)
    return found


def acting(paths, built):
    """The inputs of acting on the recorded observations."""
    policy, dataset = load_policy(paths / "policy"), LeRobotDataset(paths / "data")
    for episode in dataset.episodes:
        env = RecordedEnv(dataset, episode)
        run_episode(env, policy, episode.seed, variant=TASK_VARIANT, policy_name="policy")
    inputs = dict(built)
    built.clear()
    assert {step for _, step in inputs} == set(range(0, LENGTH - 1, 2))
    return inputs


def test_evaluations_show_the_policy_what_acting_does(paths, built):
    expected = acting(paths, built)
    evaluate_open_loop(OpenLoopConfig(policy=str(paths / "policy"), dataset=paths / "data", imagine=False))
    assert built == expected
    built.clear()
    config = WorldEvalConfig(policy=str(paths / "policy"), dataset=paths / "data", frames=3, samples=1, flow_steps=(1,))
    evaluate_world(config, paths / "out")
    assert len(built) >= 3
    assert built.items() <= expected.items()
