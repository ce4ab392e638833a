"""Real-time chunking: given actions stay, what follows is learned from the rest alone, guidance is the formula."""

from __future__ import annotations

import math

import pytest
import torch

from wla.models.experts.action_expert import ActionExpert
from wla.models.experts.configs import ActionExpertConfig
from wla.models.flow import euler
from wla.models.flow_times import step_times
from wla.models.realtime_chunking import (
    continued,
    disturbed,
    guidance_weights,
    guided,
    sample_delays,
    sample_prefix_errors,
    with_given,
)

STATE, ACTION, CHUNK, WIDTH = 3, 2, 6, 16


def expert(max_delay: int = 0) -> ActionExpert:
    torch.manual_seed(0)
    sizes = {"state_dim": STATE, "action_dim": ACTION, "chunk": CHUNK, "width": 16, "heads": 2, "layers": 2}
    return ActionExpert(ActionExpertConfig(**sizes, flow_steps=5, max_delay=max_delay), WIDTH).eval()


def queries(rows: int) -> list[torch.Tensor]:
    return [torch.randn(rows, 4, WIDTH, generator=torch.Generator().manual_seed(index)) for index in range(2)]


def noise(rows: int) -> torch.Tensor:
    return torch.randn(rows, CHUNK, ACTION, generator=torch.Generator().manual_seed(7))


@torch.no_grad()
def sample(model: ActionExpert, **options) -> torch.Tensor:
    return model.sample(queries(2), torch.zeros(2, STATE), noise(4), **options)


PREFIX = torch.arange(2 * 4 * ACTION, dtype=torch.float32).reshape(2, 4, ACTION) / 10


def test_a_trained_policy_begins_with_exactly_what_is_executed() -> None:
    chunk = sample(expert(3), prefix=PREFIX, delay=3)
    assert torch.equal(chunk[:, :3], PREFIX.repeat(2, 1, 1)[:, :3])
    other = sample(expert(3), prefix=PREFIX + 1, delay=3)
    assert not torch.allclose(chunk[:, 3:], other[:, 3:])  # the rest follows from it


def test_without_a_delay_a_trained_policy_samples_as_without_a_prefix() -> None:
    torch.testing.assert_close(sample(expert(3), prefix=PREFIX, delay=0), sample(expert(3)))


@pytest.mark.parametrize(
    ("max_delay", "length", "delay", "message"),
    [
        (2, 4, 3, "trained for delays of up to 2 control steps, not 3"),
        (0, 4, 5, "a prefix of 4 actions with a delay of 5"),
        (0, 7, 1, "a prefix of 7 actions"),
    ],
)
def test_a_prefix_that_cannot_be_continued_is_refused(max_delay, length, delay, message) -> None:
    with pytest.raises(ValueError, match=message):
        sample(expert(max_delay), prefix=torch.zeros(2, length, ACTION), delay=delay)


def test_the_chunk_is_longer_than_what_may_be_given() -> None:
    with pytest.raises(ValueError, match="max_delay 6 leaves nothing"):
        expert(CHUNK)


def test_given_actions_are_clean_have_a_time_of_their_own_and_are_not_learned() -> None:
    actions, x = torch.zeros(3, CHUNK, ACTION), torch.ones(3, CHUNK, ACTION)
    mixed, times = with_given(x, torch.tensor([0.1, 0.2, 0.3]), actions, torch.tensor([0, 2, 5]))
    assert mixed.sum((1, 2)).tolist() == [CHUNK * ACTION, (CHUNK - 2) * ACTION, ACTION]
    torch.testing.assert_close(times[1], torch.tensor([1.0, 1.0, 0.2, 0.2, 0.2, 0.2]))
    model, mask = expert(3), torch.ones(2, CHUNK, ACTION, dtype=torch.bool)
    data, t, delays = torch.randn(2, CHUNK, ACTION), torch.full((2,), 0.4), torch.tensor([2, 3])
    given = torch.arange(CHUNK) < delays[:, None]
    loss = model.loss_at(queries(2), torch.zeros(2, STATE), data, mask, noise(2), t, delays)
    rest = model.loss_at(queries(2), torch.zeros(2, STATE), data, mask & ~given[..., None], noise(2), t, delays)
    torch.testing.assert_close(loss, rest)
    # The noise of given actions is not seen.
    other = noise(2) + given[..., None]
    torch.testing.assert_close(model.loss_at(queries(2), torch.zeros(2, STATE), data, mask, other, t, delays), loss)


def test_what_follows_a_wrong_delta_leads_to_the_same_place() -> None:
    actions = torch.tensor([[[0.2, 0.2]] * 4 + [[-1.0, -1.0], [1.0, 1.0]]]).repeat(2, 1, 1)
    errors = torch.full((2, CHUNK, ACTION), 0.3)
    changed = disturbed(actions, torch.tensor([2, 0]), errors, delta_dims=(0,))
    torch.testing.assert_close(changed[0, :, 0], torch.tensor([0.5, 0.5, -0.4, 0.2, -1.0, 1.0]))
    torch.testing.assert_close(changed[0, :, 1], torch.tensor([0.5, 0.5, 0.2, 0.2, -1.0, 1.0]))  # a target stays
    torch.testing.assert_close(changed[1], actions[1])  # nothing is given


def test_wrong_deltas_stay_in_range_and_are_made_up_for_in_several_steps() -> None:
    actions = torch.tensor([[[0.9], [0.9], [0.9], [0.9], [-1.0], [1.0]]])
    changed = disturbed(actions, torch.tensor([2]), torch.full((1, CHUNK, 1), -0.4), delta_dims=(0,))
    torch.testing.assert_close(changed[0, :, 0], torch.tensor([0.5, 0.5, 1.0, 1.0, -0.4, 1.0]))
    torch.testing.assert_close(changed.sum(), actions.sum())


def test_errors_of_given_actions_have_spreads_up_to_the_scale() -> None:
    errors = sample_prefix_errors(0.6, torch.zeros(4000, 50, 2), torch.Generator().manual_seed(0))
    spreads = errors.std((1, 2))
    assert spreads.min() < 0.02
    assert 0.55 < spreads.max() < 0.75
    assert spreads.mean().item() == pytest.approx(0.3, abs=0.02)


def test_errors_of_what_is_given_are_learned_to_be_made_up_for() -> None:
    model, mask = expert(3), torch.ones(2, CHUNK, ACTION, dtype=torch.bool)
    model.config = model.config.replace(prefix_noise=0.5, delta_dims=(0,))
    data, t, delays = torch.randn(2, CHUNK, ACTION), torch.full((2,), 0.4), torch.tensor([2, 3])
    errors = torch.randn(2, CHUNK, ACTION)
    loss = model.loss_at(queries(2), torch.zeros(2, STATE), data, mask, noise(2), t, delays, errors)
    expected = disturbed(data, delays, errors, (0,))
    torch.testing.assert_close(
        loss, model.loss_at(queries(2), torch.zeros(2, STATE), expected, mask, noise(2), t, delays)
    )


def test_padding_of_another_robots_dimensions_has_no_errors(monkeypatch) -> None:
    seen = []

    def look(actions, delays, errors, delta_dims):
        seen.append(errors)
        return actions

    monkeypatch.setattr("wla.models.experts.action_expert.disturbed", look)
    model, mask = expert(3), torch.ones(2, CHUNK, ACTION, dtype=torch.bool)
    model.config = model.config.replace(prefix_noise=0.5)
    model.loss(queries(2), torch.zeros(2, STATE), torch.zeros(2, CHUNK, ACTION), mask, dims=torch.tensor([1, 2]))
    (errors,) = seen
    assert not errors[::2, :, 1].any()
    assert errors[::2, :, 0].all()
    assert errors[1::2].all()


def test_delays_of_training_are_uniform() -> None:
    delays = sample_delays(3, 8000, torch.Generator().manual_seed(0))
    assert (delays.bincount() / 8000 - 0.25).abs().max() < 0.03


def test_a_model_without_delays_draws_the_same_numbers_as_before() -> None:
    model, mask = expert(0), torch.ones(2, CHUNK, ACTION, dtype=torch.bool)
    generator = torch.Generator().manual_seed(3)
    model.loss(queries(2), torch.zeros(2, STATE), torch.zeros(2, CHUNK, ACTION), mask, generator)
    after = torch.rand(1, generator=generator)
    generator = torch.Generator().manual_seed(3)
    model.loss(queries(2), torch.zeros(2, STATE), torch.zeros(2, CHUNK, ACTION), mask, generator)
    assert torch.equal(after, torch.rand(1, generator=generator))


def test_weights_are_those_of_the_paper() -> None:
    horizon, executed, delay = 8, 3, 2
    weights = guidance_weights(horizon, horizon - executed, delay)
    assert weights[:delay].tolist() == [1, 1]
    for index in range(delay, horizon - executed):
        c = (horizon - executed - index) / (horizon - executed - delay + 1)
        assert weights[index].item() == pytest.approx(c * (math.exp(c) - 1) / (math.e - 1))
    assert weights[horizon - executed :].tolist() == [0, 0, 0]
    assert (weights.diff() <= 0).all()


def test_guidance_is_the_formula_and_leaves_the_end_alone() -> None:
    x, prefix = torch.randn(1, CHUNK, ACTION), torch.randn(1, 3, ACTION)
    pulled = guided(lambda x, t: -x, prefix, x, 1, 10)
    t = 0.5
    strength = min(10, (1 - t) / t * (t**2 + (1 - t) ** 2) / (1 - t) ** 2)
    weights = guidance_weights(CHUNK, 3, 1).float()[:, None]
    target = torch.cat([prefix, torch.zeros(1, 3, ACTION)], dim=1)
    expected = -x + strength * weights * (target - (x + 0.5 * -x))
    torch.testing.assert_close(pulled(x, t), expected)
    torch.testing.assert_close(pulled(x, 0.0)[:, 3:], -x[:, 3:])


def test_guided_chunks_begin_near_what_is_executed_and_end_as_they_would() -> None:
    model = expert(0)
    free, chunk = sample(model), sample(model, prefix=PREFIX, delay=2)
    executed = PREFIX.repeat(2, 1, 1)[:, :2]
    assert (chunk[:, :2] - executed).abs().max() < 0.2 * (free[:, :2] - executed).abs().max()


def test_continued_sampling_does_not_move_what_is_given() -> None:
    velocity, begun = continued(lambda x, t, given: torch.ones_like(x), PREFIX[:1], noise(1))
    end = euler(velocity, begun, step_times(4))
    assert torch.equal(end[:, :4], PREFIX[:1])
    torch.testing.assert_close(end[:, 4:], noise(1)[:, 4:] + 1)
