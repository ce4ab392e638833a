from __future__ import annotations

import pytest
import torch
from tiny import (
    ACTION,
    CAMERAS,
    CHUNK,
    INSTRUCTIONS,
    PROMPT,
    STATE,
    SUBTASKS,
    action_conditioned_config,
    model_config,
    prompter,
)

from wla.batch import Batch, left_pad
from wla.models.configs import WLAConfig
from wla.models.model import ModelInputs
from wla.models.wla import WLA
from wla.types import IGNORE_INDEX


@pytest.fixture
def model() -> WLA:
    torch.manual_seed(0)
    return WLA(model_config())


def make_batch(model: WLA, *, actions: list[bool], subtasks: list[bool], subgoal: list[bool]) -> Batch:
    size = len(actions)
    prompts = prompter(model)
    rows = [
        prompts.sample(INSTRUCTIONS[i % 2], torch.zeros(STATE).numpy(), SUBTASKS if has else None)
        for i, has in enumerate(subtasks)
    ]
    tokens, mask = left_pad([row[0] for row in rows], prompts.pad)
    labels, _ = left_pad([row[1] for row in rows], IGNORE_INDEX)
    generator = torch.Generator().manual_seed(3)
    images = {
        name: torch.randint(0, 256, (size, side, side, 3), dtype=torch.uint8, generator=generator)
        for name, side in CAMERAS.items()
    }
    return Batch(
        tokens=tokens,
        attention_mask=mask,
        labels=labels,
        images=images,
        state=torch.zeros(size, STATE),
        actions=torch.randn(size, CHUNK, ACTION, generator=generator),
        action_mask=torch.tensor(actions)[:, None, None].expand(size, CHUNK, ACTION),
        subgoal=images["front"].flip(1),
        subgoal_mask=torch.tensor(subgoal),
        ids=[f"sample {i}" for i in range(size)],
    )


def gradients(model: WLA, part: str) -> float:
    return sum(float(p.grad.abs().sum()) for name, p in model.named_parameters() if p.grad is not None and part in name)


def test_a_mixed_batch_gives_three_losses_that_the_generator_reproduces(model):
    batch = make_batch(model, actions=[True, False, True], subtasks=[False, True, True], subgoal=[True, True, False])
    losses = [model.compute_loss(batch, torch.Generator().manual_seed(7)) for _ in range(2)]
    for name in ("action", "world", "language"):
        first, second = (float(loss[name].detach()) for loss in losses)
        assert first > 0
        assert first == second


@pytest.mark.parametrize(("missing", "part"), [("actions", "action_expert"), ("subgoal", "world_expert")])
def test_missing_labels_give_no_loss_and_no_gradient(model, missing, part):
    has = {"actions": [True, True], "subtasks": [True, True], "subgoal": [True, True]} | {missing: [False, False]}
    losses = model.compute_loss(make_batch(model, **has))
    name = {"actions": "action", "subgoal": "world", "subtasks": "language"}[missing]
    assert float(losses[name]) == 0
    sum(losses.values()).backward()
    assert gradients(model, part) == 0
    assert gradients(model, "backbone") > 0


def test_a_full_batch_gives_gradients_to_every_part_except_the_codec(model):
    losses = model.compute_loss(make_batch(model, actions=[True] * 2, subtasks=[True] * 2, subgoal=[True] * 2))
    sum(losses.values()).backward()
    without_gradient = {
        name for name, p in model.named_parameters() if p.grad is None and not name.startswith("codec.")
    }
    assert not without_gradient
    assert all(p.grad is None for name, p in model.named_parameters() if name.startswith("codec."))


def test_masked_action_entries_do_not_count(model):
    batch = make_batch(model, actions=[True, True], subtasks=[True, True], subgoal=[False, False])
    batch.action_mask = batch.action_mask.clone()
    batch.action_mask[:, 2:] = False
    want = model.compute_loss(batch, torch.Generator().manual_seed(1))["action"]
    batch.actions = batch.actions.clone()
    batch.actions[:, 2:] = 0.5
    changed = model.compute_loss(batch, torch.Generator().manual_seed(1))["action"]
    # What stands in a masked entry reaches the loss only through attention between the noisy actions.
    assert want.isfinite()
    assert changed.isfinite()
    batch.action_mask = torch.zeros_like(batch.action_mask)
    assert float(model.compute_loss(batch)["action"]) == 0


def test_decoding_and_queries_on_one_cache_equal_one_full_forward_pass(model):
    model.eval()
    prompts = prompter(model)
    batch = make_batch(model, actions=[True] * 2, subtasks=[True] * 2, subgoal=[True] * 2)
    rows = [prompts.prompt(text, torch.zeros(STATE).numpy()) for text in INSTRUCTIONS]
    inputs = ModelInputs(batch.images, torch.zeros(2, STATE), rows, [[], []], prompts)
    with torch.no_grad():
        encoding = model.generate(inputs)
        texts, queries = encoding.text_tokens, encoding.query_hidden
        for index, row in enumerate(rows):
            whole = torch.tensor([[*row, *texts[index], *prompts.suffix()]])
            images = {name: image[index : index + 1] for name, image in batch.images.items()}
            read = model.backbone.encode(whole, torch.ones_like(whole, dtype=torch.bool), images)
            for layer, want in zip(queries, read.layers[-len(queries) :], strict=True):
                torch.testing.assert_close(layer[index], want[0, -PROMPT.queries :], atol=1e-5, rtol=1e-4)
            greedy = model.backbone.logits(read.last[0, len(row) - 1 : len(row) - 1 + len(texts[index])]).argmax(-1)
            assert greedy.tolist() == texts[index]


def test_targets_are_counted_without_a_forward_pass(model):
    batch = make_batch(model, actions=[True, False, True], subtasks=[False, True, True], subgoal=[True, True, False])
    counts = model.loss_counts(batch)
    assert (counts["action"], counts["world"]) == (2 * CHUNK * ACTION, 2)
    assert counts["language"] == int((batch.labels != IGNORE_INDEX).sum())


def test_flow_steps_and_a_prefix_of_a_call_decide_the_actions(model):
    words = prompter(model.eval())
    batch = make_batch(model, actions=[True], subtasks=[True], subgoal=[True])
    rows = [words.prompt(INSTRUCTIONS[0], torch.zeros(STATE).numpy())]
    noise = torch.randn(1, CHUNK, ACTION, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        encoding = model.encode(ModelInputs(batch.images, torch.zeros(1, STATE), rows, [[]], words))
        default, same, one = (model.sample_actions(encoding, noise=noise, num_steps=steps) for steps in (None, 3, 1))
    assert torch.equal(default, same)
    assert not torch.allclose(default, one)
    with torch.no_grad():
        pulled = model.sample_actions(encoding, noise=noise, prefix=torch.zeros(1, 2, ACTION))
    assert pulled[:, :2].abs().max() < default[:, :2].abs().max()


def test_without_imagination_the_world_expert_is_not_built():
    model = WLA(model_config(), imagination=False)
    assert not [name for name in model.state_dict() if name.startswith(("world_expert", "codec"))]
    losses = model.compute_loss(make_batch(model, actions=[True], subtasks=[True], subgoal=[True]))
    assert float(losses["world"]) == 0


@pytest.mark.parametrize(("condition_dropout", "learns"), [(0.0, True), (1.0, False)])
def test_dropped_action_conditions_give_no_gradient(condition_dropout, learns):
    torch.manual_seed(0)
    model = WLA(action_conditioned_config(condition_dropout))
    batch = make_batch(model, actions=[True] * 2, subtasks=[True] * 2, subgoal=[True] * 2)
    model.compute_loss(batch, torch.Generator().manual_seed(0))["world"].backward()
    assert bool(model.world_expert.action_conditioner.mlp[0].weight.grad.any()) is learns


def test_action_conditions_of_another_size_than_the_action_expert_s_are_refused():
    config = action_conditioned_config().model_dump()
    config["world_expert"]["actions"]["chunk"] = CHUNK + 1
    with pytest.raises(ValueError, match="they are the same actions"):
        WLAConfig.model_validate(config)


def test_a_current_frame_of_another_size_than_the_imagined_one_is_refused():
    config = model_config()
    world = config.world_expert.replace(condition_on_current_frame=True)
    assert config.replace(world_expert=world).target_side == config.backbone.cameras["front"]
    with pytest.raises(ValueError, match="the primary image has 32 pixels along each side and the imagined one 16"):
        config.replace(world_expert=world.replace(latent_size=4))
