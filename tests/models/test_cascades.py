"""Policies that act on what they imagine: what reaches the actions, and what the actions' loss does not reach."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch
import variants
from test_variants import batch_of, build, inputs_of, reached
from tiny import ACTION, CHUNK

import wla
from wla.evaluation.configs import WorldEvalConfig
from wla.evaluation.world_images import IMAGINED
from wla.evaluation.world_model import evaluate_world
from wla.models.model import ModelInputs
from wla.policy.checkpoint import save_checkpoint

CASCADES = ("cascaded_latents", "cascaded_pixels")


@pytest.mark.parametrize("kind", CASCADES)
def test_the_loss_of_actions_trains_neither_imagination_nor_backbone(kind: str) -> None:
    model = build(kind)
    assert reached(model, model.compute_loss(batch_of(model))["action"]) == {"action_expert", "frame_pair"} & {
        name.partition(".")[0] for name, _ in model.named_parameters()
    }
    assert reached(model, model.compute_loss(batch_of(model))["world"]) == {"backbone", "world_expert"}


@pytest.mark.parametrize("kind", CASCADES)
def test_actions_follow_from_what_the_world_expert_imagines(kind: str) -> None:
    model, noise = build(kind), torch.zeros(2, CHUNK, ACTION)
    with torch.no_grad():
        for block in model.world_expert.sana.transformer_blocks:
            block.scale_shift_table.add_(0.5)  # so that it matters what they attend to
        before = model.sample_actions(model.encode(inputs_of(model)), noise=noise)
        model.world_expert.connector.out_norm.weight.add_(5.0)
        after = model.sample_actions(model.encode(inputs_of(model)), noise=noise)
    assert not torch.allclose(before, after, atol=1e-6)


@pytest.mark.parametrize("kind", CASCADES)
def test_imagining_acts_without_being_asked_to_predict_images(kind: str) -> None:
    model = build(kind)
    without = variants.config(kind).build(imagination=False)
    assert model.state_dict().keys() == without.state_dict().keys()
    assert not model.imagination_parts


@torch.no_grad()
def test_inverse_dynamics_reads_the_frame_that_is_predicted() -> None:
    """From the same noise, the image of `predict_images` is the one between which and now the actions are found."""
    model = build("cascaded_pixels")
    seen: list[torch.Tensor] = []
    pair = model.frame_pair.forward

    def watched(now: torch.Tensor, later: torch.Tensor) -> torch.Tensor:
        seen.append(later)
        return pair(now, later)

    model.frame_pair.forward = watched
    encoding = model.encode(inputs_of(model))
    noise = model.noise.expand(2, 1, -1, -1, -1)
    assert torch.equal(model.predict_images(encoding, noise=noise)[:, 0], model.codec.decode(seen[0]))


def test_inverse_dynamics_learns_from_the_recorded_frame_and_only_where_there_is_one() -> None:
    model = build("cascaded_pixels", latent_noise=0.0)
    batch = batch_of(model)
    assert model.loss_counts(batch)["action"] == 2 * CHUNK * ACTION
    half = replace(batch, subgoal_mask=torch.tensor([True, False]))
    assert model.loss_counts(half)["action"] == CHUNK * ACTION
    losses = [
        model.compute_loss(each, torch.Generator().manual_seed(1))["action"]
        for each in (
            half,
            replace(half, subgoal=half.subgoal.roll(1, 0)),
            replace(half, actions=half.actions.roll(1, 0)),
        )
    ]
    assert len({float(loss) for loss in losses}) == 3
    none = replace(batch, subgoal_mask=torch.zeros(2, dtype=torch.bool))
    assert float(model.compute_loss(none)["action"]) == 0


def test_noise_on_the_recorded_frame_changes_what_is_learned_from() -> None:
    losses = []
    for level in (0.0, 1.0):
        model = build("cascaded_pixels", latent_noise=level)
        losses.append(float(model.compute_loss(batch_of(model), torch.Generator().manual_seed(1))["action"]))
    assert losses[0] != losses[1]


def test_sizes_that_do_not_fit_are_refused() -> None:
    sizes = tiny.model_config()
    deep = sizes.action_expert.replace(layers=3)
    with pytest.raises(ValueError, match=r"action_expert\.layers: 3 blocks read .* which has 2; lower it"):
        variants.config("cascaded_latents", action_expert=deep)
    with pytest.raises(ValueError, match=r"world_expert\.guidance: a cascade imagines in each call, without guidance"):
        variants.config("cascaded_pixels", world_expert=sizes.world_expert.replace(guidance=3.0))


@pytest.mark.parametrize("kind", CASCADES)
def test_what_they_imagine_is_evaluated(kind: str, tmp_path: Path) -> None:
    data = tiny.write_dataset(tmp_path / "data", length=12)
    made = tiny.checkpoint()
    model = build(kind)
    save_checkpoint(replace(made, config=made.config.replace(model=model.config), model=model), tmp_path / "policy")
    asked = WorldEvalConfig(policy=str(tmp_path / "policy"), dataset=str(data), frames=2, samples=1)
    metrics = evaluate_world(asked, tmp_path / "out")
    assert f"{IMAGINED}, 2 steps" in {row.method for row in metrics.rows}
    assert wla.load_policy(tmp_path / "policy").imagination is not None


def test_the_current_latent_is_read_where_the_world_expert_sees_the_frame() -> None:
    world = tiny.model_config().world_expert.replace(condition_on_current_frame=True)
    for kind in CASCADES:
        model = build(kind, world_expert=world)
        inputs: ModelInputs = inputs_of(model)
        assert model.sample_actions(model.encode(inputs), noise=torch.zeros(2, CHUNK, ACTION)).isfinite().all()
        assert all(float(loss.detach()) > 0 for loss in model.compute_loss(batch_of(model)).values())
