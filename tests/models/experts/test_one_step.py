"""One step that is learned: without training it is a step of Euler; trained, it answers as many steps do."""

from __future__ import annotations

import pytest
import torch
from tiny import ACTION, CHUNK, STATE, WIDTH, model_config, queries

from wla.models.experts.action_expert import ActionExpert, Distillation
from wla.models.experts.configs import ActionExpertConfig, OneStepConfig
from wla.models.inference.compiled_parts import CompiledActionExpert
from wla.models.inference.sampling import ActionVelocity, StartSampling

ONE_STEP = OneStepConfig(target_steps=2, noise_samples_per_chunk=3, weight=0.1)


def learner(**changes: object) -> ActionExpert:
    torch.manual_seed(0)
    return ActionExpert(model_config().action_expert.replace(one_step=ONE_STEP, **changes), WIDTH)


def chunks(rows: int) -> tuple[torch.Tensor, ...]:
    """States, actions and masks of samples."""
    mask = torch.ones(rows, CHUNK, ACTION, dtype=torch.bool)
    return torch.randn(rows, STATE), torch.randn(rows, CHUNK, ACTION), mask


@pytest.mark.parametrize("steps", [1, 3])
def test_before_training_all_numbers_of_steps_answer_as_without_it(steps):
    expert = learner().eval()
    plain = ActionExpert(model_config().action_expert, WIDTH).eval()
    known = {name: value for name, value in expert.state_dict().items() if name != "one_step"}
    plain.load_state_dict(known)
    noise, state = torch.randn(2, CHUNK, ACTION), torch.randn(2, STATE)
    with torch.no_grad():
        assert torch.equal(
            expert.sample(queries(2), state, noise, steps), plain.sample(queries(2), state, noise, steps)
        )


def test_only_a_single_step_changes_with_what_is_learned():
    expert, noise, state = learner().eval(), torch.randn(2, CHUNK, ACTION), torch.randn(2, STATE)

    def answers() -> list[torch.Tensor]:
        with torch.no_grad():
            return [expert.sample(queries(2), state, noise, steps) for steps in (1, 2, 5)]

    before = answers()
    torch.nn.init.normal_(expert.one_step)
    after = answers()
    assert [torch.equal(old, new) for old, new in zip(before, after, strict=True)] == [False, True, True]


def test_compiled_sampling_answers_a_learned_step_as_the_reference():
    expert, noise, state = learner().eval(), torch.randn(2, CHUNK, ACTION), torch.randn(2, STATE)
    torch.nn.init.normal_(expert.one_step)
    fast = CompiledActionExpert(expert, StartSampling(expert), ActionVelocity(expert))
    with torch.inference_mode():
        for steps in (1, 2):
            ours, theirs = (each.sample(queries(2), state, noise, steps) for each in (fast, expert))
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_the_error_is_that_from_the_mean_velocity_of_several_steps(monkeypatch):
    expert = learner()
    state, actions, mask = chunks(2)

    def velocity(x, t, state, condition, *, one_step=False):
        return torch.full_like(x, 3.0) if one_step else torch.full_like(x, float(t[0]) * 4)

    monkeypatch.setattr(expert, "velocity", velocity)
    noise = torch.randn(6, CHUNK, ACTION)
    # Velocities 0 at time 0 and 2 at time 1/2: their mean is 1, from which 3 is 2 away.
    torch.testing.assert_close(expert.one_step_loss_at(queries(2), state, actions, mask, noise), torch.tensor(4.0))


def test_the_loss_is_that_of_flow_matching_and_the_weighted_error_of_one_step(monkeypatch):
    expert, plain = learner(), ActionExpert(model_config().action_expert, WIDTH)
    plain.load_state_dict(expert.state_dict(), strict=False)
    state, actions, mask = chunks(2)
    seen = []
    monkeypatch.setattr(expert, "one_step_loss_at", lambda *rows: seen.append(rows[4]) or torch.tensor(5.0))
    ours, theirs = (
        each.loss(queries(2), state, actions, mask, torch.Generator().manual_seed(1)) for each in (expert, plain)
    )
    torch.testing.assert_close(ours, theirs + 0.1 * 5.0)
    assert [len(noise) for noise in seen] == [3 * 2]


def test_the_answer_of_several_steps_is_not_trained_towards_the_single_one(monkeypatch):
    expert, (state, actions, mask) = learner(), chunks(2)
    velocity, calls = expert.velocity, []

    def watched(*rows, one_step=False):
        calls.append((one_step, torch.is_grad_enabled()))
        return velocity(*rows, one_step=one_step)

    monkeypatch.setattr(expert, "velocity", watched)
    expert.one_step_loss_at(queries(2), state, actions, mask, torch.randn(4, CHUNK, ACTION)).backward()
    assert calls == [(False, False), (False, False), (True, True)]
    assert expert.one_step.grad.abs().sum() > 0


def test_given_actions_are_read_as_they_are_and_not_learned():
    expert, (state, actions, mask) = learner(max_delay=2), chunks(2)
    noise, delays = torch.randn(2, CHUNK, ACTION), torch.tensor([2, 1])

    def loss(given: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return expert.one_step_loss_at(queries(2), state, given, mask, start, delays)

    base, given = loss(actions, noise), torch.arange(CHUNK) < delays[:, None]
    torch.testing.assert_close(loss(actions + ~given[..., None], noise), base)  # the rest of the chunk is not read
    torch.testing.assert_close(loss(actions, noise + given[..., None]), base)  # nor is noise where actions are given
    assert not torch.allclose(loss(actions + given[..., None], noise), base)


@pytest.mark.slow
def test_one_step_of_a_trained_expert_chooses_one_of_two_ways_where_a_step_of_euler_takes_the_middle():
    torch.manual_seed(0)
    sizes = {"state_dim": 0, "action_dim": 1, "chunk": 1, "width": 32, "heads": 2, "layers": 2}
    config = ActionExpertConfig(**sizes, noise_samples_per_chunk=2, one_step=OneStepConfig(target_steps=4, weight=1.0))
    expert = ActionExpert(config, 8)
    optimizer = torch.optim.Adam(expert.parameters(), 5e-3)
    condition, state = [torch.zeros(64, 1, 8)] * 2, torch.zeros(64, 0)
    ways = torch.where(torch.arange(64) % 2 == 0, 1.0, -1.0).view(64, 1, 1)
    for _ in range(250):
        optimizer.zero_grad()
        expert.loss(condition, state, ways, torch.ones(64, 1, 1, dtype=torch.bool)).backward()
        optimizer.step()
    noise = torch.randn(256, 1, 1)
    with torch.no_grad():
        learned = expert.sample([torch.zeros(1, 1, 8)] * 2, torch.zeros(1, 0), noise, 1)
        expert.one_step.zero_()
        euler = expert.sample([torch.zeros(1, 1, 8)] * 2, torch.zeros(1, 0), noise, 1)
    assert (learned.abs() - 1).abs().mean() < 0.25
    assert 0.3 < (learned > 0).float().mean() < 0.7
    assert (euler.abs() - 1).abs().mean() > 0.5


def student_and_teacher(noise_scale: float) -> tuple[ActionExpert, ActionExpert]:
    student = learner()
    torch.manual_seed(1)
    teacher = ActionExpert(model_config().action_expert, WIDTH)
    student.distillation = Distillation(teacher, noise_scale)
    return student, teacher


def test_a_student_of_equal_weights_has_nothing_to_learn_of_velocities_and_its_teacher_is_not_saved():
    student, teacher = student_and_teacher(0.5)
    state, actions, mask = chunks(2)
    rows = (queries(2), state, actions, mask, torch.randn(4, CHUNK, ACTION), torch.rand(4))
    assert student.loss_at(*rows) > 0
    teacher.load_state_dict(student.state_dict(), strict=False)
    assert student.loss_at(*rows) == 0
    assert not any("teacher" in name or "distillation" in name for name in student.state_dict())


def test_a_single_step_learns_where_the_teacher_goes_in_several_from_the_noise_it_acts_with():
    student, teacher = student_and_teacher(0.5)
    state, actions, mask = chunks(2)
    noise = torch.randn(6, CHUNK, ACTION)
    with torch.no_grad():
        reached = teacher.sample(queries(2), state, noise, ONE_STEP.target_steps)
        single = student.sample(queries(2), state, noise, 1)
        error = student.one_step_loss_at(queries(2), state, actions, mask, noise)
    torch.testing.assert_close(error, (single - reached).square().mean())


def test_the_noise_of_a_single_step_is_as_large_as_what_the_policy_acts_with(monkeypatch):
    (student, _), (state, actions, mask) = student_and_teacher(0.25), chunks(2)
    seen = []
    monkeypatch.setattr(student, "one_step_loss_at", lambda *rows: seen.append(rows[4]) or torch.tensor(0.0))
    for scale in (0.25, 1.0):
        student.distillation = Distillation(student, scale)
        student.loss(queries(2), state, actions, mask, torch.Generator().manual_seed(1))
    torch.testing.assert_close(seen[0], 0.25 * seen[1])


def test_only_the_student_learns():
    (student, teacher), (state, actions, mask) = student_and_teacher(0.5), chunks(2)
    student.loss(queries(2), state, actions, mask).backward()
    assert student.one_step.grad.abs().sum() > 0
    assert all(weight.grad is None for weight in teacher.parameters())
