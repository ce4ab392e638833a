"""Each way to join world and action: its losses, what reaches which weights, and the ordinary roads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import tiny_qwen
import tiny_smolvlm
import torch
import variants
from tiny import ACTION, CAMERAS, CHUNK, INSTRUCTIONS, STATE, SUBTASKS

import wla
from wla.batch import Batch, left_pad
from wla.data.dataset_config import DatasetConfig
from wla.data.prompts.nano import Prompter
from wla.models.model import ModelInputs
from wla.training.configs import LoopConfig, OptimConfig
from wla.training.objectives.configs import PolicyTrainConfig
from wla.training.objectives.initialization_kinds import FromCheckpoint, FromScratch
from wla.training.trainer import train
from wla.types import IGNORE_INDEX, PolicyState

KINDS = tuple(variants.CONFIGS)


def build(kind: str, **changes: Any) -> Any:
    torch.manual_seed(0)
    return variants.config(kind, **changes).build().eval()


def prompter(model: Any) -> Prompter:
    return tiny.prompter(model)


def batch_of(model: Any, *, actions: bool = True, subgoal: bool = True) -> Batch:
    words, generator = prompter(model), torch.Generator().manual_seed(3)
    rows = [words.sample(text, np.zeros(STATE, np.float32), SUBTASKS) for text in INSTRUCTIONS]
    tokens, mask = left_pad([row[0] for row in rows], words.pad)
    labels, _ = left_pad([row[1] for row in rows], IGNORE_INDEX)
    images = {
        name: torch.randint(0, 256, (2, side, side, 3), dtype=torch.uint8, generator=generator)
        for name, side in CAMERAS.items()
    }
    return Batch(
        tokens=tokens,
        attention_mask=mask,
        labels=labels,
        images=images,
        state=torch.zeros(2, STATE),
        actions=torch.randn(2, CHUNK, ACTION, generator=generator),
        action_mask=torch.full((2, CHUNK, ACTION), actions),
        subgoal=None if model.config.interface.subgoal_size is None else images["front"].flip(1),
        subgoal_mask=torch.full((2,), subgoal),
    )


def inputs_of(model: Any) -> ModelInputs:
    words, batch = prompter(model), batch_of(model)
    rows = [words.prompt(text, np.zeros(STATE, np.float32)) for text in INSTRUCTIONS]
    return ModelInputs(batch.images, torch.zeros(2, STATE), rows, [[], []], words)


def reached(model: Any, loss: torch.Tensor) -> set[str]:
    """Parts of the model with a gradient of that loss."""
    model.zero_grad()
    loss.backward()
    return {
        name.partition(".")[0]
        for name, value in model.named_parameters()
        if value.grad is not None and value.grad.any()
    }


@pytest.mark.parametrize("kind", KINDS)
def test_every_term_has_a_loss_that_the_generator_reproduces(kind: str) -> None:
    model = build(kind)
    first, second = (model.compute_loss(batch_of(model), torch.Generator().manual_seed(7)) for _ in range(2))
    assert first.keys() == model.loss_targets.keys() == dict(model.config.loss_weights).keys()
    assert {term: float(loss) for term, loss in first.items()} == {term: float(loss) for term, loss in second.items()}
    assert all(float(loss) > 0 for loss in first.values())


@pytest.mark.parametrize("kind", KINDS)
def test_videos_give_no_action_loss_and_last_frames_no_world_loss(kind: str) -> None:
    model = build(kind)
    without = {
        "actions": model.compute_loss(batch_of(model, actions=False)),
        "subgoal": model.compute_loss(batch_of(model, subgoal=False)),
    }
    for term, target in model.loss_targets.items():
        if target in without:
            assert float(without[target][term]) == 0
            assert not without[target][term].requires_grad


@pytest.mark.parametrize("kind", KINDS)
def test_chunks_follow_from_their_noise(kind: str) -> None:
    model = build(kind)
    noise = torch.randn(4, CHUNK, ACTION, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        encoding = model.encode(inputs_of(model))
        four, one = (model.sample_actions(encoding, noise=rows) for rows in (noise, noise[:2]))
        again = model.sample_actions(model.encode(inputs_of(model)), noise=noise)
    torch.testing.assert_close(four[:2], one)
    torch.testing.assert_close(four, again)
    assert not torch.allclose(four[:2], four[2:])


def recipe(kind: str, data: Path, codec: str, **changes: Any) -> PolicyTrainConfig:
    fields: dict[str, Any] = {
        "model": variants.config(kind),
        "init": FromScratch(prompt=tiny.PROMPT, codec=codec),
        "datasets": (DatasetConfig(path=str(data)),),
        "replan_steps": 2,
        "loop": LoopConfig(optim=OptimConfig(steps=2, learning_rate=1e-3, warmup=1), batch_size=4, log_every=1),
    }
    return PolicyTrainConfig(**fields | changes)


@pytest.fixture
def codec(tmp_path: Path) -> str:
    """A policy with the codec."""
    from wla.policy.checkpoint import save_checkpoint

    save_checkpoint(tiny.checkpoint(), tmp_path / "wla")
    return str(tmp_path / "wla")


@pytest.mark.parametrize("kind", KINDS)
def test_it_trains_is_saved_loaded_and_acts(kind: str, tmp_path: Path, codec: str) -> None:
    data = tiny.write_dataset(tmp_path / "data", length=12)
    config = recipe(kind, data, codec)
    folder = train(config.build(), config.loop, tmp_path / "run")
    more = config.replace(loop=config.loop.replace(optim=config.loop.optim.replace(steps=2), micro_batches=2))
    train(more.build(), more.loop, tmp_path / "split")
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert {*build(kind).loss_targets} <= rows[-1].keys()

    policy = wla.load_policy(folder)
    chunk, state = policy.act(tiny.observation(), policy.reset(INSTRUCTIONS[0]))
    assert chunk.actions.shape == (CHUNK, ACTION)
    assert state.num_calls == 1
    whole = wla.load_policy(folder, imagination=True)
    again, _ = whole.act(tiny.observation(), whole.reset(INSTRUCTIONS[0]))
    np.testing.assert_allclose(again.actions, chunk.actions, rtol=1e-5)
    whole.save_pretrained(tmp_path / "copy")
    assert wla.load_policy(tmp_path / "copy").checkpoint_sha256 == policy.checkpoint_sha256
    imagines_or_refuses(whole, kind)

    tuned = recipe(kind, data, codec, init=FromCheckpoint(policy=str(folder))).build()
    stored = whole.model.state_dict()
    assert all(torch.equal(value, stored[name]) for name, value in tuned.model.state_dict().items())


def imagines_or_refuses(policy: Any, kind: str) -> None:
    begun: PolicyState = policy.reset(INSTRUCTIONS[0])
    if policy.model.config.interface.imagined_size is None:
        with pytest.raises(ValueError, match="its model predicts no images"):
            policy.act(tiny.observation(), begun, imagine=True)
        return
    chunk, _ = policy.act(tiny.observation(), begun, imagine=True)
    assert chunk.subgoal is not None
    assert chunk.subgoal.shape == (32, 32, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_the_fast_path_is_refused_in_a_line(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from wla.policy.fast import fast_model

    model = build(kind)
    assert fast_model(model, tmp_path, trusted=True) is model
    assert f"nothing is compiled for models of kind '{model.config.kind}'" in "".join(capsys.readouterr())


def test_plain_vla_is_a_wla_without_a_world_objective() -> None:
    """Same weights, same loss of actions: nothing but the world is left out."""
    plain, ours = build("plain_vla"), tiny.checkpoint().model
    plain.load_state_dict({name: value for name, value in ours.state_dict().items() if name in plain.state_dict()})
    left = {name.partition(".")[0] for name in ours.state_dict().keys() - plain.state_dict().keys()}
    assert left == {"world_expert", "codec"}
    losses = [model.compute_loss(batch_of(ours), torch.Generator().manual_seed(1)) for model in (plain, ours)]
    assert float(losses[0]["action"]) == float(losses[1]["action"])


def test_alignment_trains_backbone_and_predictor_and_not_through_the_later_frame() -> None:
    model = build("aligned")
    batch = batch_of(model, actions=False)
    assert reached(model, model.compute_loss(batch)["alignment"]) == {"backbone", "predictor"}
    model.zero_grad()
    features = model.backbone.image_features
    seen: list[torch.Tensor] = []

    def watched(images: torch.Tensor) -> torch.Tensor:
        seen.append(features(images))
        return seen[-1]

    model.backbone.image_features = watched
    model.compute_loss(batch)
    assert [each.requires_grad for each in seen] == [False]
    torch.testing.assert_close(seen[0], features(batch.subgoal), rtol=1e-4, atol=1e-5)


def test_alignment_falls_to_zero_where_the_predictor_knows_the_features() -> None:
    model = build("aligned")
    batch = batch_of(model, actions=False)
    target = model.backbone.image_features(batch.subgoal).detach()
    model.predictor.forward = lambda states: 3 * target
    assert float(model.compute_loss(batch)["alignment"]) == pytest.approx(0, abs=1e-5)


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ValueError, match="predictor_heads: 3 do not divide the backbone's width 32"):
        variants.config("aligned", predictor_heads=3)


@pytest.mark.parametrize("sizes", [tiny, tiny_smolvlm, tiny_qwen], ids=["nano", "smolvlm", "qwen"])
def test_features_of_one_image_are_those_of_a_prompt(sizes: Any) -> None:
    config = sizes.model_config().backbone
    backbone = config.build().eval()
    tokens = torch.tensor([[config.image_token] * sum(config.image_tokens.values()) + [1]])
    images = {
        name: torch.randint(0, 256, (1, side, side, 3), dtype=torch.uint8) for name, side in config.cameras.items()
    }
    with torch.no_grad():
        context = backbone.encode(tokens, torch.ones_like(tokens, dtype=torch.bool), images)
        found = backbone.image_features(images[config.primary])
    torch.testing.assert_close(found, context.images[config.primary], rtol=1e-4, atol=1e-4)
