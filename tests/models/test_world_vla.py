"""WorldVLA: masks, decoding with a cache against one pass, images from actions, and the ordinary roads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

import wla
from wla.batch import Batch
from wla.data.dataset_config import DatasetConfig
from wla.data.prompts.special_tokens import special_tokens
from wla.models import ModelInputs, WorldVLA, WorldVLAConfig
from wla.models.configs import residual_codec
from wla.models.world_vla import chosen
from wla.presets import nano_world_vla
from wla.training.configs import LoopConfig, OptimConfig
from wla.training.objectives.configs import CodecTrainConfig, PolicyTrainConfig
from wla.training.objectives.initialization_kinds import FromScratch
from wla.training.trainer import train
from wla.types import Observation

CODEC = residual_codec(latent_channels=4, channels=(8, 8, 8), layers=(0, 1, 1), levels=(5, 4, 3, 4))
VOCABULARY = 400


def config(**changes: object) -> WorldVLAConfig:
    image = special_tokens(tiny.PROMPT.queries, tiny.PROMPT.locations).index("<|image_pad|>")
    return WorldVLAConfig(
        images=tiny.CAMERAS,
        vocabulary=VOCABULARY,
        image_token=image,
        state_dim=tiny.STATE,
        action_dim=tiny.ACTION,
        chunk=tiny.CHUNK,
        codec=CODEC,
        action_bins=16,
        width=32,
        layers=2,
        heads=2,
        mlp=48,
        **changes,
    )


def build(**changes: object) -> WorldVLA:
    torch.manual_seed(0)
    model = config(**changes).build()
    with torch.no_grad():  # so that nothing is a tie
        for parameter in model.decoder.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


class Layout:
    pad, stop = 0, 1

    def suffix_after(self, subtask_tokens: list[int]) -> tuple[int, list[int]]:
        return 0, [7, 8]


def prompts(model: WorldVLA) -> list[list[int]]:
    """Two prompts of different lengths."""
    image = [model.config.image_token] * sum(model.config.interface.image_tokens.values())
    return [[20, 21, *image, 22], [23, 24, 25, 26, *image, 27]]


def inputs(model: WorldVLA) -> ModelInputs:
    generator = torch.Generator().manual_seed(1)
    images = {
        name: torch.randint(0, 256, (2, side, side, 3), dtype=torch.uint8, generator=generator)
        for name, side in model.config.images.items()
    }
    state = torch.zeros(2, tiny.STATE)
    return ModelInputs(images, state, prompts(model), [[], []], Layout())


def batch_of(model: WorldVLA, given: ModelInputs, actions: torch.Tensor) -> Batch:
    """The training batch of the same prompts, with these actions."""
    rows = [[*row, 7, 8] for row in given.prompts]
    longest = max(map(len, rows))
    tokens = torch.tensor([[0] * (longest - len(row)) + row for row in rows])
    mask = torch.tensor([[False] * (longest - len(row)) + [True] * len(row) for row in rows])
    side = model.config.interface.subgoal_size
    return Batch(
        tokens=tokens,
        attention_mask=mask,
        labels=torch.full_like(tokens, -100),
        images=dict(given.images),
        state=given.proprio,
        actions=actions,
        action_mask=torch.ones_like(actions, dtype=torch.bool),
        subgoal=torch.randint(
            0, 256, (2, side, side, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(2)
        ),
        subgoal_mask=torch.ones(2, dtype=torch.bool),
    )


def sampled(model: WorldVLA, given: ModelInputs) -> torch.Tensor:
    return model.sample_actions(model.encode(given), noise=torch.zeros(2, tiny.CHUNK, tiny.ACTION))


@torch.no_grad()
def seen_logits(model: WorldVLA, batch: Batch) -> list[torch.Tensor]:
    """Logits of the action tokens as the loss sees them."""
    found: list[torch.Tensor] = []
    original = model._logits

    def logits(states: torch.Tensor) -> torch.Tensor:
        found.append(original(states))
        return found[-1]

    model._logits = logits
    try:
        model.compute_loss(replace(batch, subgoal_mask=torch.zeros(2, dtype=torch.bool)))
    finally:
        model._logits = original
    return found


@pytest.mark.parametrize("action_mask", [True, False])
def test_decoding_with_a_cache_is_what_training_sees(action_mask: bool) -> None:
    """Each decoded token is the most likely one where the loss would ask for it, given those that were decoded."""
    model = build(action_mask=action_mask)
    given = inputs(model)
    with torch.no_grad():
        actions = sampled(model, given)
    (logits,) = seen_logits(model, batch_of(model, given, actions))
    expected = logits[..., model.first_action : model.first_action + 16].argmax(-1)
    found = model._bins(actions).flatten(1) - model.first_action
    assert torch.equal(found, expected)
    assert len(found.unique()) > 1, "not all the same token"


@pytest.mark.parametrize(("action_mask", "spreads"), [(True, False), (False, True)])
def test_errors_of_an_action_do_not_reach_the_next_with_the_mask(action_mask: bool, spreads: bool) -> None:
    model = build(action_mask=action_mask)
    given = inputs(model)
    actions = torch.zeros(2, tiny.CHUNK, tiny.ACTION)
    changed = actions.clone()
    changed[:, 0] = 0.9
    (before,), (after,) = (seen_logits(model, batch_of(model, given, each)) for each in (actions, changed))
    before, after = (each.unflatten(1, (tiny.CHUNK, tiny.ACTION)) for each in (before, after))
    assert not torch.equal(before[:, 0, 1], after[:, 0, 1]), "within an action, earlier dimensions are seen"
    assert bool((before[:, 1:] - after[:, 1:]).abs().max() > 1e-4) == spreads


def test_padding_changes_nothing() -> None:
    model = build()
    given = inputs(model)
    alone = ModelInputs(
        {name: image[:1] for name, image in given.images.items()}, given.proprio[:1], given.prompts[:1], [[]], Layout()
    )
    with torch.no_grad():
        both = model.encode(given)
        one = model.encode(alone)
    row = both.mask[0]
    assert not row.all()
    noise = torch.zeros(2, tiny.CHUNK, tiny.ACTION)
    with torch.no_grad():
        torch.testing.assert_close(
            model.sample_actions(both, noise=noise)[:1], model.sample_actions(one, noise=noise[:1])
        )


def test_an_encoding_serves_any_number_of_samples() -> None:
    model = build()
    with torch.no_grad():
        encoding = model.encode(inputs(model))
        first = model.sample_actions(encoding, noise=torch.zeros(2, tiny.CHUNK, tiny.ACTION))
        again = model.sample_actions(encoding, noise=torch.zeros(6, tiny.CHUNK, tiny.ACTION))
        noise = torch.randn(6, tiny.CHUNK, tiny.ACTION, generator=torch.Generator().manual_seed(4))
        noise[0] = 0
        candidates = model.sample_actions(encoding, noise=noise)
        alone = model.sample_actions(encoding, noise=noise[2:4])
    assert torch.equal(again, first.repeat(3, 1, 1))
    assert torch.equal(candidates[0], first[0])
    assert torch.equal(candidates[2:4], alone)
    assert len({chunk.numpy().tobytes() for chunk in candidates}) == 6
    with pytest.raises(ValueError, match="do not continue a chunk"):
        model.sample_actions(encoding, noise=torch.zeros(2, tiny.CHUNK, tiny.ACTION), prefix=first)


def test_noise_chooses_tokens_as_often_as_they_are_likely() -> None:
    logits = torch.tensor([0.3, -1.0, 2.0, 0.0])
    noise = torch.randn(20_000, generator=torch.Generator().manual_seed(0))
    found = chosen(logits.expand(len(noise), -1), noise).bincount(minlength=4) / len(noise)
    assert (found - logits.softmax(-1)).abs().max() < 0.015
    assert chosen(logits, torch.tensor(0.0)) == 2


def test_imagined_images_follow_actions_and_are_what_training_sees() -> None:
    model = build()
    with torch.no_grad():
        encoding = model.encode(inputs(model))
        actions = torch.rand(2, 2, tiny.CHUNK, tiny.ACTION, generator=torch.Generator().manual_seed(3)) * 2 - 1
        images = model.predict_images(encoding, noise=torch.zeros(2, 2, 1), actions=actions)
        assert images.shape == (2, 2, 32, 32, 3)
        codes = model.codec.codes(images.flatten(0, 1))
        assert not torch.equal(images[:, 0], images[:, 1])
        own = model.predict_images(encoding, noise=torch.zeros(2, 1, 1))
        chunk = model.sample_actions(encoding, noise=torch.zeros(2, tiny.CHUNK, tiny.ACTION))
        same = model.predict_images(encoding, noise=torch.zeros(2, 1, 1), actions=chunk[:, None])
    assert torch.equal(own, same)
    assert codes.shape == (4, 8, 8)


def test_terms_count_what_is_known_alone() -> None:
    model = build()
    batch = batch_of(model, inputs(model), torch.rand(2, tiny.CHUNK, tiny.ACTION))
    batch.action_mask[1, 2:] = False
    known = model.compute_loss(batch)
    other = replace(batch, actions=batch.actions.clone())
    other.actions[1, 2:] = -0.7
    changed = model.compute_loss(other)
    torch.testing.assert_close(changed["action"], known["action"])
    torch.testing.assert_close(changed["world"], known["world"])
    assert model.loss_counts(batch) == {"action": 2 * tiny.CHUNK * tiny.ACTION - 2 * tiny.ACTION, "world": 2}
    nothing = replace(
        batch, action_mask=torch.zeros_like(batch.action_mask), subgoal_mask=torch.zeros(2, dtype=torch.bool)
    )
    assert [float(value.detach()) for value in model.compute_loss(nothing).values()] == [0, 0]


def test_a_continuous_head_regresses_what_discrete_tokens_do_not_decide() -> None:
    model = build(continuous_head=True)
    given = inputs(model)
    target = torch.rand(2, tiny.CHUNK, tiny.ACTION, generator=torch.Generator().manual_seed(5)) - 0.5
    batch = batch_of(model, given, target)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        model.compute_loss(batch)["action"].backward()
        optimizer.step()
    with torch.no_grad():
        error = (sampled(model, given) - target).abs().mean()
    assert error < 0.5 * 1 / 16, "nearer than half a bin's width"


def test_codecs_without_codes_and_odd_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="codec: has continuous latents; WorldVLA reads codes"):
        config().replace(codec=CODEC.replace(levels=()))
    with pytest.raises(ValueError, match="'history front' is the first"):
        config().replace(images={"history front": 32, "front": 32})
    with pytest.raises(ValueError, match=r"images.front: 30 pixels are not a multiple of 4"):
        config().replace(images={"front": 30})


def test_it_is_trained_saved_loaded_and_acts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tiny.write_dataset(Path("data"))
    loop = LoopConfig(optim=OptimConfig(steps=2, learning_rate=3e-3, warmup=1), batch_size=4, log_every=1)
    codec = CodecTrainConfig(codec=CODEC, datasets=("data",), camera="front", loop=loop)
    train(codec.build(), loop, Path("codec"))
    recipe = PolicyTrainConfig(
        model=config(max_world_samples=2),
        init=FromScratch(prompt=tiny.PROMPT.replace(language=False), codec="codec/checkpoint"),
        datasets=(DatasetConfig(path="data"),),
        loop=loop,
    )
    folder = train(recipe.build(), loop, Path("run"))
    policy = wla.load_policy(folder, imagination=True)
    assert isinstance(policy.model, WorldVLA)
    spec = policy.robot_spec
    seen = Observation(
        {name: np.zeros((*size, 3), np.uint8) for name, size in spec.observation.cameras.items()},
        np.zeros(spec.observation.state_dim, np.float32),
    )
    chunk, _ = policy.act(seen, policy.reset("press the button"), imagine=True)
    assert chunk.actions.shape == (tiny.CHUNK, tiny.ACTION)
    assert chunk.subgoal.shape == (32, 32, 3)
    plain = recipe.replace(init=FromScratch(prompt=tiny.PROMPT.replace(language=False), codec="nano-tabletop"))
    with pytest.raises(ValueError, match="codec: has continuous latents"):
        plain.build()


def test_the_nano_preset_reads_and_predicts_images_of_its_cameras() -> None:
    model = nano_world_vla(state_dim=5, action_dim=5, chunk=5).build()
    images = torch.randint(0, 256, (1, 96, 96, 3), dtype=torch.uint8)
    codes = model.codec.codes(images)
    assert codes.shape == (1, 6, 6)
    assert model.codec.decode_codes(codes).shape == images.shape
    assert model.codec.reconstruct(images).shape == (1, 3, 96, 96)
