"""WorldVLA through the interfaces of every policy: past frames, imagination, candidates, measured images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import tiny
import torch

from wla.data.prompts.special_tokens import special_tokens
from wla.evaluation.configs import WorldEvalConfig
from wla.evaluation.world_metrics import table
from wla.evaluation.world_model import evaluate_world
from wla.models import WorldVLAConfig
from wla.models.configs import residual_codec
from wla.policy.best_of_n import BestOfNPolicy, BestOfNPolicyConfig, GoalImageScorer
from wla.policy.checkpoint import Checkpoint, CheckpointConfig, save_checkpoint
from wla.policy.wla_policy import WLAPolicy
from wla.types import PolicyState

HISTORY = {"front": 32, "history front": 32, "history2 front": 32, "history3 front": 32, "wrist": 16}


def checkpoint(images: dict[str, int] = tiny.CAMERAS) -> Checkpoint:
    torch.manual_seed(0)
    model = WorldVLAConfig(
        images=images,
        vocabulary=400,
        image_token=special_tokens(tiny.PROMPT.queries, tiny.PROMPT.locations).index("<|image_pad|>"),
        state_dim=tiny.STATE,
        action_dim=tiny.ACTION,
        chunk=tiny.CHUNK,
        codec=residual_codec(latent_channels=4, channels=(8, 8, 8), layers=(0, 1, 1), levels=(5, 4, 3, 4)),
        width=32,
        layers=2,
        heads=2,
        mlp=48,
    )
    prompt = tiny.PROMPT.replace(language=False, history=2)
    config = CheckpointConfig(model=model, prompt=prompt, action_noise=0.0)
    built = model.build().eval()
    with torch.no_grad():  # so that actions matter to images
        for parameter in built.decoder.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return Checkpoint(config, built, tiny.policy_robots(tiny.robot_spec()), tiny.tokenizer())


def policy_of(images: dict[str, int] = tiny.CAMERAS) -> WLAPolicy:
    return WLAPolicy(checkpoint(images), name="tiny", checkpoint_sha256="abc")


def test_candidates_differ_and_so_do_their_imagined_images() -> None:
    policy = policy_of()
    state = policy.reset(tiny.INSTRUCTIONS[0], seed=3)
    alone, _ = policy.act(tiny.observation(), state, imagine=True)
    goal = np.full((32, 32, 3), 90, np.uint8)
    best = BestOfNPolicy(policy, GoalImageScorer(goal), BestOfNPolicyConfig(num_candidates=4))
    chunk, _ = best.act(tiny.observation(), state)
    assert chunk.candidates is not None
    np.testing.assert_array_equal(chunk.candidates.images[0], alone.subgoal)
    assert len({image.tobytes() for image in chunk.candidates.images}) > 1
    sampled = policy.sample_actions(policy.encode([tiny.observation()], [state]), 4)[0]
    assert len({actions.tobytes() for actions in sampled}) == 4
    assert chunk.candidates.selected == chunk.candidates.scores.argmax()


def test_all_frames_of_the_history_are_read() -> None:
    policy = policy_of(HISTORY)
    state = policy.reset(tiny.INSTRUCTIONS[0])
    for step in range(7):
        state = policy.observe(tiny.observation(step), state)
    assert len(state.frame_history) == 6
    seen, _ = policy.inputs_of(tiny.observation(7), state)
    for name, step in (("front", 7), ("history front", 5), ("history2 front", 3), ("history3 front", 1)):
        np.testing.assert_array_equal(seen[name], tiny.observation(step).images["front"])

    def tokens(state: PolicyState) -> bytes:
        return policy.encode([tiny.observation(7)], [state]).model.tokens.numpy().tobytes()

    for index in (0, 2, 4):
        frames = list(state.frame_history)
        frames[index] = 255 - frames[index]
        assert tokens(replace(state, frame_history=tuple(frames))) != tokens(state)


def test_its_images_are_measured_like_those_of_other_policies(tmp_path: Path) -> None:
    save_checkpoint(checkpoint(HISTORY), tmp_path / "policy")
    save_checkpoint(tiny.checkpoint(), tmp_path / "other")
    tiny.write_dataset(tmp_path / "data", length=16)
    config = WorldEvalConfig(
        policy=str(tmp_path / "policy"), dataset=tmp_path / "data", frames=2, samples=1, num_report_frames=1
    )
    metrics = evaluate_world(config, tmp_path / "out")
    assert "action-conditioned (recorded chunk), 1 step" in {row.method for row in metrics.rows}
    assert "codec reconstruction" in table(metrics)
    alike = evaluate_world(config.replace(metric_codec=str(tmp_path / "other")), tmp_path / "alike")
    pairs = list(zip(metrics.rows, alike.rows, strict=True))
    assert all(one.psnr == other.psnr for one, other in pairs)
    assert any(one.distance != other.distance for one, other in pairs)
