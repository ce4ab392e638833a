"""Joint diffusion: one flow for image and actions, in one stream or two."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch
import variants
from test_variants import batch_of, build, inputs_of, reached
from tiny import ACTION, CHUNK

from wla.evaluation.configs import WorldEvalConfig
from wla.evaluation.world_images import IMAGINED
from wla.evaluation.world_model import evaluate_world
from wla.models.experts.joint_expert import Pair
from wla.models.model_config import RealtimeConfig
from wla.policy.checkpoint import save_checkpoint

JOINT = ("joint", "joint, two streams")


def changed_outputs(kind: str, changed: str) -> tuple[bool, bool]:
    """Whether actions and latents of the velocity depend on the noisy input of that name."""
    model = build(kind).joint_expert
    generator = torch.Generator().manual_seed(0)
    world = model.config
    x = Pair(
        torch.randn(1, CHUNK, ACTION, generator=generator),
        torch.randn(1, world.latent_channels, world.latent_size, world.latent_size, generator=generator),
    )
    condition = model.condition([torch.randn(1, 5, tiny.WIDTH, generator=generator)] * 2, 1)
    t, state, current = torch.full((1,), 0.5), torch.zeros(1, tiny.STATE), torch.zeros_like(x.latent)
    with torch.no_grad():
        before = model.velocity(x, (t, t), state, current, condition)
        other = x._replace(**{changed: getattr(x, changed) + 1})
        after = model.velocity(other, (t, t), state, current, condition)
    return not torch.allclose(before.actions, after.actions), not torch.allclose(before.latent, after.latent)


@pytest.mark.parametrize("kind", JOINT)
@pytest.mark.parametrize("changed", ["actions", "latent"])
def test_image_and_actions_see_each_other(kind: str, changed: str) -> None:
    assert changed_outputs(kind, changed) == (True, True)


def test_two_streams_share_no_weights() -> None:
    counts = [sum(p.numel() for p in build(kind).joint_expert.blocks.parameters()) for kind in JOINT]
    assert counts[1] == 2 * counts[0]


@pytest.mark.parametrize("kind", JOINT)
def test_both_losses_train_expert_and_backbone(kind: str) -> None:
    model = build(kind)
    for term in ("action", "world"):
        assert reached(model, model.compute_loss(batch_of(model))[term]) == {"backbone", "joint_expert"}


@pytest.mark.parametrize("kind", JOINT)
def test_what_a_sample_lacks_does_not_reach_its_losses(kind: str) -> None:
    """Actions of a video, whatever they are, and the frame after the last one."""
    model = build(kind)
    batch = batch_of(model, actions=False)
    other = replace(batch, actions=batch.actions + 1)
    losses = [float(model.compute_loss(each, torch.Generator().manual_seed(1))["world"]) for each in (batch, other)]
    assert losses[0] == losses[1]
    batch = batch_of(model, subgoal=False)
    other = replace(batch, subgoal=255 - batch.subgoal)
    losses = [float(model.compute_loss(each, torch.Generator().manual_seed(1))["action"]) for each in (batch, other)]
    assert losses[0] == losses[1]


def test_images_come_from_the_flow_that_gave_the_chunk() -> None:
    """The image from the noise that acting uses is that of the chunk; other noise of the chunk gives another image."""
    model = build("joint")
    with torch.no_grad():
        for block in model.joint_expert.blocks:
            for weights in block.parameters():
                weights.mul_(3.0)
        encoding = model.encode(inputs_of(model))
        chunk = torch.randn(2, CHUNK, ACTION, generator=torch.Generator().manual_seed(1))
        latent = model.noise.expand(2, -1, -1, -1)
        found = model._sample(encoding, Pair(chunk, latent), None)
        torch.testing.assert_close(found.actions, model.sample_actions(encoding, noise=chunk))
        noise = Pair(chunk, latent).flat()[:, None]
        assert noise.shape[2:] == model.imagination.noise_shape
        assert torch.equal(model.predict_images(encoding, noise=noise)[:, 0], model.codec.decode(found.latent))
        other = Pair(-chunk, latent).flat()[:, None]
        several = model.predict_images(encoding, noise=torch.cat([noise, other], dim=1))
    first, second = several.int().unbind(1)
    assert (first - model.codec.decode(found.latent).int()).abs().max() <= 1  # other rows, other rounding
    assert (first - second).abs().max() > 1


def test_dimensions_of_other_robots_stay_zero() -> None:
    model = build("joint")
    inputs = replace(inputs_of(model), action_dims=torch.tensor([1, 2]))
    with torch.no_grad():
        chunk = model.sample_actions(model.encode(inputs), noise=torch.ones(2, CHUNK, ACTION))
    assert not chunk[0, :, 1:].any()
    assert chunk[1].all()


def test_a_prefix_and_sizes_that_do_not_fit_are_refused() -> None:
    model = build("joint")
    noise = torch.zeros(2, CHUNK, ACTION)
    with pytest.raises(ValueError, match="'joint' do not continue a chunk"):
        model.sample_actions(model.encode(inputs_of(model)), noise=noise, prefix=noise[:, :1])
    with pytest.raises(ValueError, match="'joint' do not learn to continue given actions"):
        model.config.with_realtime(RealtimeConfig(max_delay=1), ())
    with pytest.raises(ValueError, match=r"joint_expert: denoises latents of 4 channels, 16 pixels .* have 4 and 32"):
        variants.config("joint", joint_expert=variants.joint_expert(latent_size=4))
    with pytest.raises(ValueError, match="patch: a latent of 8 has no whole patches of 3"):
        variants.joint_expert(patch=3)
    with pytest.raises(ValueError, match="heads: 3 do not divide the width 16"):
        variants.joint_expert(heads=3)


def test_patches_are_put_back_where_they_were() -> None:
    expert = build("joint").joint_expert
    latent = torch.randn(2, 4, 8, 8)
    torch.testing.assert_close(expert._latent(expert._patches(latent)), latent)


@pytest.mark.parametrize("kind", JOINT)
def test_what_it_imagines_is_evaluated(kind: str, tmp_path: Path) -> None:
    data = tiny.write_dataset(tmp_path / "data", length=12)
    made, model = tiny.checkpoint(), build(kind)
    save_checkpoint(replace(made, config=made.config.replace(model=model.config), model=model), tmp_path / "policy")
    asked = WorldEvalConfig(policy=str(tmp_path / "policy"), dataset=str(data), frames=2, samples=2)
    metrics = evaluate_world(asked, tmp_path / "out")
    assert f"{IMAGINED}, 3 steps" in {row.method for row in metrics.rows}
