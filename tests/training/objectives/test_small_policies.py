"""Policies of small size: from a published SmolVLM, and from nothing."""

from __future__ import annotations

import json

import pytest
import tiny
import tiny_smolvlm
import torch
from accelerate import init_empty_weights
from test_policy_statistics import recipe_of

from wla.models.image_codec import ImageCodec
from wla.models.wla import WLA
from wla.policy.wla_policy import WLAPolicy
from wla.presets import SMALL_PROMPT, small_model
from wla.training import FromScratch, FromSmolVLM
from wla.training.configs import OptimConfig
from wla.training.objectives.configs import PolicyTrainConfig
from wla.training.objectives.initialization_kinds import AnyInitialization
from wla.training.trainer import train


@pytest.fixture(autouse=True)
def codec(monkeypatch) -> ImageCodec:
    """An untrained codec instead of the one that recipes name."""
    made = ImageCodec(tiny.model_config().codec)
    monkeypatch.setattr("wla.training.objectives.pretrained_codec.load_codec", lambda name: made)
    return made


def recipe(folder, monkeypatch, init: AnyInitialization, **changes) -> PolicyTrainConfig:
    tiny.write_dataset(folder)
    return recipe_of(folder, monkeypatch, init=init, **changes)


def test_a_published_model_becomes_a_policy_that_trains_and_acts(tmp_path, monkeypatch, codec):
    published = tiny_smolvlm.write_vlm(tmp_path / "vlm")
    init = FromSmolVLM(vlm=str(tmp_path / "vlm"), codec="codec", prompt=tiny.PROMPT)
    small = recipe(tmp_path / "robot", monkeypatch, init, model=tiny_smolvlm.model_config())
    objective = small.build()
    own, rows = objective.model.backbone.state_dict(), tiny_smolvlm.IMAGE
    for name, value in published.state_dict().items():
        assert torch.equal(own[name][:rows] if value.shape[0] == rows else own[name], value), name
    embedding = own["model.text_model.embed_tokens.weight"]
    assert embedding[rows:].std() == pytest.approx(float(embedding[:rows].std()), rel=0.5)
    assert all(
        torch.equal(value, codec.state_dict()[name]) for name, value in objective.model.codec.state_dict().items()
    )
    policy = WLAPolicy.from_pretrained(train(objective, small.loop, tmp_path / "run"))
    chunk, state = policy.act(tiny.observation(), policy.reset(tiny.INSTRUCTIONS[0]))
    assert chunk.actions.shape == (tiny.CHUNK, tiny.ACTION)
    assert policy.act(tiny.observation(1), state)[0].actions.shape == chunk.actions.shape


def test_generated_texts_are_those_of_plain_greedy_decoding(tmp_path, monkeypatch):
    """The draft of the last window does not change what the backbone says."""
    tiny_smolvlm.write_vlm(tmp_path / "vlm")
    init = FromSmolVLM(vlm=str(tmp_path / "vlm"), codec="codec", prompt=tiny.PROMPT)
    small = recipe(tmp_path / "robot", monkeypatch, init, model=tiny_smolvlm.model_config())
    optim = OptimConfig(steps=8, learning_rate=3e-3, warmup=0)
    small = small.override(["model.loss_weights.language=1"]).replace(
        loop=small.loop.replace(optim=optim, batch_size=8)
    )
    policy = WLAPolicy.from_pretrained(train(small.build(), small.loop, tmp_path / "run"))
    start = policy.reset(tiny.INSTRUCTIONS[0])
    plain = policy.act(tiny.observation(), start)[0]
    for draft in ((), tiny.SUBTASKS[:1], tiny.SUBTASKS):
        drafted = policy.act(tiny.observation(), policy.with_memory(start, (), draft))[0]
        assert drafted.subtasks == plain.subtasks
        torch.testing.assert_close(
            torch.from_numpy(drafted.actions), torch.from_numpy(plain.actions), atol=1e-4, rtol=0
        )


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("config.json", {"scale_factor": 3}, "scale_factor is 3, in the recipe's model 2"),
        ("config.json", {"text_config": {"rms_norm_eps": 1e-3}}, r"text.rms_norm_eps is 0.001, .* 1e-05"),
        ("config.json", {"vision_config": {"patch_size": 4}}, "vision.patch_size is 4, in the recipe's model 8"),
        ("config.json", {"model_type": "qwen3_vl"}, "model_type is 'qwen3_vl'; give the folder of a SmolVLM"),
        ("config.json", None, "no model here; give the folder of a SmolVLM"),
        ("tokenizer.json", {"added_tokens": []}, r"vlm: .*tokenizer"),
        ("tokenizer.json", None, "tokenizer.json: no tokenizer here"),
    ],
)
def test_a_folder_that_does_not_fit_is_refused(file, change, message, tmp_path, monkeypatch):
    tiny_smolvlm.write_vlm(tmp_path / "vlm")
    path = tmp_path / "vlm" / file
    tree = json.loads(path.read_text())
    path.unlink()
    if change is not None:
        for name, value in change.items():
            tree[name] = tree[name] | value if isinstance(value, dict) else value
        path.write_text(json.dumps(tree))
    init = FromSmolVLM(vlm=str(tmp_path / "vlm"), codec="codec", prompt=tiny.PROMPT)
    with pytest.raises(ValueError, match=message) as caught:
        recipe(tmp_path / "robot", monkeypatch, init, model=tiny_smolvlm.model_config()).build()
    assert "\n" not in str(caught.value)


def test_another_backbone_is_refused(tmp_path, monkeypatch):
    init = FromSmolVLM(vlm="somewhere", codec="codec", prompt=tiny.PROMPT)
    with pytest.raises(ValueError, match="the recipe's backbone is not a SmolVLM"):
        recipe(tmp_path / "robot", monkeypatch, init).build()


def test_a_policy_from_nothing_has_a_tokenizer_of_its_data(tmp_path, monkeypatch):
    small = recipe(tmp_path / "robot", monkeypatch, FromScratch(prompt=tiny.PROMPT, codec="codec"))
    checkpoint = small.build().checkpoint
    length = len(checkpoint.prompter.encode(tiny.SUBTASKS[0]))
    assert length < len(tiny.SUBTASKS[0]) / 2
    policy = WLAPolicy.from_pretrained(train(small.build(), small.loop, tmp_path / "run"))
    assert policy.act(tiny.observation(), policy.reset(tiny.INSTRUCTIONS[0]))[0].actions.shape == (
        tiny.CHUNK,
        tiny.ACTION,
    )


@pytest.mark.parametrize(
    ("init", "message"),
    [
        (FromScratch(), "reads text; set init.prompt, or name the backbone"),
        (FromScratch(prompt=tiny.PROMPT), "init.codec: the model predicts images; name a codec"),
        (FromScratch(prompt=tiny.PROMPT.replace(queries=4), codec="codec"), "number of meta-queries is 3 .* and 4"),
    ],
)
def test_what_a_policy_from_nothing_lacks_is_named(init, message, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=message):
        recipe(tmp_path / "robot", monkeypatch, init).build()


def test_the_preset_learns_to_act_and_imagine(tmp_path, monkeypatch):
    """With the sizes of the images that it reads and imagines, but fewer channels."""
    monkeypatch.undo()
    sizes = small_model(cameras=("front", "wrist"), state_dim=tiny.STATE, action_dim=tiny.ACTION, chunk=tiny.CHUNK)
    backbone = sizes.backbone.replace(width=64, layers=8, heads=2, mlp=64, stem_channels=(8, 8, 8))
    narrow = sizes.replace(
        backbone=backbone, action_expert=sizes.action_expert.replace(width=32, heads=2), max_world_samples=1
    )
    init = FromScratch(prompt=SMALL_PROMPT, codec="nano-tabletop")
    objective = recipe(tmp_path / "robot", monkeypatch, init, model=narrow).build()
    losses = objective.model.compute_loss(objective.sample_batch(2, torch.Generator().manual_seed(0)))
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert losses["world"] > 0


@pytest.mark.parametrize(("vlm", "low", "high"), [(None, 20e6, 60e6), ("256M", 256e6, 320e6), ("500M", 507e6, 580e6)])
def test_the_preset_has_its_size_and_the_tokens_of_its_prompt(vlm, low, high):
    config = small_model(cameras=("front", "wrist"), state_dim=7, action_dim=7, chunk=16, vlm=vlm)
    with init_empty_weights():
        count = sum(parameter.numel() for parameter in WLA(config).parameters())
    assert low <= count <= high
    assert config.backbone.image_tokens == {"front": 64, "wrist": 64}
    assert config.queries.first + SMALL_PROMPT.queries == config.backbone.text_sizes.vocabulary or vlm is None
