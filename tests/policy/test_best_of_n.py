from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch

from wla.models.wla import WLA
from wla.policy.best_of_n import BATCH_SIZE, BestOfNPolicy, BestOfNPolicyConfig, GoalImageScorer
from wla.policy.checkpoint import CheckpointConfig
from wla.policy.wla_policy import WLAPolicy
from wla.types import FrameContext


def policy_of(config) -> WLAPolicy:
    torch.manual_seed(0)
    checkpoint = replace(
        tiny.checkpoint(), config=CheckpointConfig(model=config, prompt=tiny.PROMPT), model=WLA(config).eval()
    )
    return WLAPolicy(checkpoint, name="tiny", checkpoint_sha256="abc")


@pytest.fixture(scope="module")
def tied() -> WLAPolicy:
    return policy_of(tiny.action_conditioned_config())


@pytest.fixture(scope="module")
def plain() -> WLAPolicy:
    return policy_of(tiny.model_config())


class Prefers:
    """Scores by the place in the batch; keeps what it was shown."""

    def __init__(self, *scores: float) -> None:
        self.scores, self.shown, self.frame_contexts = list(scores), list[np.ndarray](), list[list[FrameContext]]()

    def score(self, frame_contexts, images):
        self.shown.append(images)
        self.frame_contexts.append(frame_contexts)
        assert len(frame_contexts) == len(images)
        return np.array(self.scores[: len(images)], np.float32)


class Clock:
    """Every look takes a second."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def act(policy: WLAPolicy, scorer, **config):
    scaled = BestOfNPolicy(policy, scorer, BestOfNPolicyConfig(**config))
    return scaled.act(tiny.observation(), scaled.reset("press the button", seed=3))


def test_one_candidate_is_what_the_policy_does_alone(tied):
    chunk, state = act(tied, Prefers(1), num_candidates=1)
    alone, after = tied.act(tiny.observation(), tied.reset("press the button", seed=3))
    np.testing.assert_allclose(chunk.actions, alone.actions, atol=1e-6)
    assert (chunk.subtasks, state) == (alone.subtasks, after)


@pytest.mark.parametrize("kind", ["tied", "plain"])
def test_the_best_is_run_and_all_is_reported(kind, request):
    policy = request.getfixturevalue(kind)
    chunk, _ = act(policy, Prefers(0, 3, 1), num_candidates=3)
    state = policy.reset("press the button", seed=3)
    proposed = policy.sample_actions(policy.encode([tiny.observation()], [state]), 3)[0]
    assert len({actions.tobytes() for actions in proposed}) == 3
    np.testing.assert_array_equal(chunk.actions, proposed[1])
    found = chunk.candidates
    assert found is not None
    assert (found.selected, found.horizon, found.scores.tolist()) == (1, 1, [0, 3, 1])
    assert found.images.shape == (3, 32, 32, 3)
    np.testing.assert_array_equal(chunk.subgoal, found.images[1])


def test_the_backbone_reads_once_for_all_candidates(tied, monkeypatch):
    reads = []
    original = type(tied.model.backbone).encode
    monkeypatch.setattr(
        type(tied.model.backbone),
        "encode",
        lambda self, *args, **more: reads.append(1) or original(self, *args, **more),
    )
    act(tied, Prefers(*range(6)), num_candidates=6)
    assert len(reads) == 1


def test_tied_images_differ_by_their_actions_alone(tied):
    encoding = tied.encode([tiny.observation()], [tied.reset("press the button")])
    same = np.zeros((1, 2, tiny.CHUNK, tiny.ACTION), np.float32)
    first, second = tied.predict_images(encoding, samples=2, actions=same, shared_noise=True)[0]
    np.testing.assert_array_equal(first, second)
    chunk, _ = act(tied, Prefers(0, 1), num_candidates=2)
    assert not np.array_equal(*chunk.candidates.images)


def test_plain_images_differ_by_noise_alone(tied):
    count = BATCH_SIZE + 2
    chunk, _ = act(tied, Prefers(*range(count)), num_candidates=count, action_conditioning=False)
    encoding = tied.encode([tiny.observation()], [tied.reset("press the button", seed=3)])
    images = tied.predict_images(encoding, samples=count)[0]
    np.testing.assert_allclose(chunk.candidates.images.astype(int), images.astype(int), atol=1)
    assert len({image.tobytes() for image in images}) == count


def test_looking_further_goes_on_from_what_was_imagined(tied):
    scorer = Prefers(1, 0, 2)
    chunk, _ = act(tied, scorer, num_candidates=3, imagination_horizon=2)
    assert [len(images) for images in scorer.shown] == [3, 3]
    assert chunk.candidates.horizon == 2
    np.testing.assert_array_equal(chunk.candidates.images, scorer.shown[1])
    np.testing.assert_array_equal(chunk.subgoal, scorer.shown[0][2])  # what its own chunk leads to
    assert not np.array_equal(scorer.shown[0], scorer.shown[1])


def test_the_same_call_gives_the_same_answer(tied):
    (first, _), (second, _) = (act(tied, Prefers(1, 2), num_candidates=2, imagination_horizon=2) for _ in range(2))
    np.testing.assert_array_equal(first.actions, second.actions)
    np.testing.assert_array_equal(first.candidates.images, second.candidates.images)


@pytest.mark.parametrize("action_conditioning", [False, True])
def test_when_time_is_over_the_best_so_far_is_run(tied, action_conditioning):
    scorer = Prefers(*range(3 * BATCH_SIZE))
    config = BestOfNPolicyConfig(
        num_candidates=3 * BATCH_SIZE,
        imagination_horizon=5,
        time_budget_ms=1500,
        action_conditioning=action_conditioning,
    )
    scaled = BestOfNPolicy(tied, scorer, config, Clock())
    chunk, _ = scaled.act(tiny.observation(), scaled.reset("press the button"))
    assert chunk.candidates.selected == BATCH_SIZE - 1  # one group, one chunk ahead
    assert chunk.candidates.horizon == 1
    roomy = BestOfNPolicy(tied, scorer, config.replace(time_budget_ms=5500), Clock())
    chunk, _ = roomy.act(tiny.observation(), roomy.reset("press the button"))
    assert (len(chunk.candidates.images), chunk.candidates.horizon) == (3 * BATCH_SIZE, 2)


def test_a_budget_smaller_than_one_candidate_leaves_what_the_policy_does_alone(tied):
    scorer = Prefers(0, 1)
    scaled = BestOfNPolicy(tied, scorer, BestOfNPolicyConfig(num_candidates=2, time_budget_ms=500), Clock())
    with pytest.warns(UserWarning, match="time_budget_ms 500 is over before a candidate is imagined"):
        chunk, after = scaled.act(tiny.observation(), scaled.reset("press the button", seed=3))
    alone, state = tied.act(tiny.observation(), tied.reset("press the button", seed=3))
    np.testing.assert_allclose(chunk.actions, alone.actions, atol=1e-6)
    assert (chunk.candidates, after) == (None, state)
    assert not scorer.shown


def test_an_image_of_the_goal_scores_by_agreement():
    goal = np.full((4, 4, 3), 100, np.uint8)
    images = np.stack([goal + 9, goal, goal - 3])
    assert GoalImageScorer(goal).score([FrameContext("go")] * 3, images).tolist() == [-9, 0, -3]
    with pytest.raises(ValueError, match="the goal is an image"):
        GoalImageScorer(goal).score([FrameContext("go")], np.zeros((1, 8, 8, 3), np.uint8))


def test_candidates_and_horizon_may_be_asked_for_at_a_call(tied):
    scaled = BestOfNPolicy(tied, Prefers(*range(5)), BestOfNPolicyConfig())
    state = scaled.reset("press the button")
    chunk, _ = scaled.act(tiny.observation(), state, num_candidates=5, imagination_horizon=2)
    assert (len(chunk.candidates.scores), chunk.candidates.horizon) == (5, 2)


@pytest.mark.parametrize("instead", [{"num_candidates": 0}, {"imagination_horizon": 0}])
def test_no_candidates_or_chunks_ahead_are_refused_at_a_call(tied, instead):
    scaled = BestOfNPolicy(tied, Prefers(0), BestOfNPolicyConfig())
    with pytest.raises(ValueError, match=f"{next(iter(instead))}\n.*greater than or equal to 1"):
        scaled.act(tiny.observation(), scaled.reset("press the button"), **instead)


def test_best_of_n_needs_imagination():
    checkpoint = tiny.checkpoint()
    without = replace(checkpoint, model=WLA(checkpoint.config.model, imagination=False).eval())
    with pytest.raises(ValueError, match="best-of-n needs imagination"):
        BestOfNPolicy(WLAPolicy(without, name="tiny", checkpoint_sha256="abc"), Prefers(1), BestOfNPolicyConfig())


def second_call(policy: WLAPolicy):
    return policy.with_memory(
        policy.reset("press the button", seed=3), memory=["reach the button"], window=["press it"]
    )


def test_half_of_the_candidates_may_forget_what_was_done(tied, monkeypatch):
    prompts = []
    original = type(tied).encode
    monkeypatch.setattr(
        type(tied), "encode", lambda self, seen, states: prompts.append(states) or original(self, seen, states)
    )
    scorer = Prefers(0, 0.3, 0.35, 0.4)
    scaled = BestOfNPolicy(tied, scorer, BestOfNPolicyConfig(num_candidates=4, memory_reset=True))
    chunk, after = scaled.act(tiny.observation(), second_call(tied))
    assert len(prompts) == 1  # read together
    assert [bool(state.memory or state.subtasks) for state in prompts[0]] == [True, False]
    assert (chunk.candidates.selected, len(chunk.candidates.images)) == (3, 4)
    assert chunk.candidates.memory_reset == (False, False, True, True)
    words = [context.subtask for context in scorer.frame_contexts[0]]
    assert list(chunk.candidates.subtasks) == words
    assert words[3] == "".join(chunk.subtasks[-1:])
    forgotten = tied.with_memory(second_call(tied), memory=(), window=())
    assert after == tied.advance_state(chunk.subtasks, tiny.observation(), forgotten)
    encoding = tied.encode([tiny.observation()], [forgotten])
    np.testing.assert_allclose(chunk.actions, tied.sample_actions(encoding, 2)[0, 1], atol=1e-4)


@pytest.mark.parametrize("chosen", [0, 3])
def test_with_the_candidate_its_reading_goes_on(tied, chosen):
    scaled = BestOfNPolicy(
        tied,
        Prefers(*np.eye(4)[chosen]),
        BestOfNPolicyConfig(num_candidates=4, memory_reset=True, imagination_horizon=2),
    )
    chunk, after = scaled.act(tiny.observation(), second_call(tied))
    assert chunk.candidates.selected == chosen
    remembering = second_call(tied) if chosen == 0 else tied.with_memory(second_call(tied), memory=(), window=())
    assert after == tied.advance_state(chunk.subtasks, tiny.observation(), remembering)


@pytest.mark.parametrize(("margin", "chosen"), [(0, 3), (0.3, 3), (0.375, 0), (0.4, 0), (1, 0)])
def test_another_candidate_is_run_where_it_is_better_by_the_margin(tied, margin, chosen):
    scorer = Prefers(0.5, 0.1, 0.6, 0.875)
    chunk, _ = act(tied, scorer, num_candidates=4, selection_margin=margin)
    assert chunk.candidates.selected == chosen
    np.testing.assert_array_equal(chunk.subgoal, chunk.candidates.images[chosen])


def test_a_reset_candidate_needs_the_margin_to_be_selected(tied):
    scaled = BestOfNPolicy(
        tied,
        Prefers(0.5, 0.5, 0.75, 0.5),
        BestOfNPolicyConfig(num_candidates=4, memory_reset=True, selection_margin=0.5),
    )
    state = second_call(tied)
    chunk, after = scaled.act(tiny.observation(), state)
    alone, remembering = tied.act(tiny.observation(), state)
    np.testing.assert_allclose(chunk.actions, alone.actions, atol=1e-4)
    assert after == remembering


def test_where_there_is_nothing_to_forget_all_candidates_are_of_one_kind(tied):
    chunk, _ = act(tied, Prefers(0, 1, 2, 3), num_candidates=4, memory_reset=True)
    assert (chunk.candidates.selected, any(chunk.candidates.memory_reset)) == (3, False)


def test_halves_of_an_odd_number_are_refused(tied):
    with pytest.raises(ValueError, match="candidates 3: half of them have a memory reset; make it an even number"):
        BestOfNPolicyConfig(num_candidates=3, memory_reset=True)
    scaled = BestOfNPolicy(tied, Prefers(0, 1), BestOfNPolicyConfig(num_candidates=2, memory_reset=True))
    with pytest.raises(ValueError, match="candidates 5: half of them"):
        scaled.act(tiny.observation(), scaled.reset("press the button"), num_candidates=5)


@pytest.mark.parametrize(
    ("again", "reset", "since"),
    [
        ("press it", "reach the button", [5 + tiny.CHUNK, tiny.CHUNK // 2]),
        ("press it", "press it", [5 + tiny.CHUNK] * 2),  # forgetting an earlier prediction does not make it new
        ("let go", "press it", [tiny.CHUNK // 2, 5 + tiny.CHUNK]),
    ],
)
def test_the_scorer_gets_the_context_of_each_candidate(tied, monkeypatch, again, reset, since):
    monkeypatch.setattr(tied, "subtasks", lambda encoding, row: (again if encoding.states[row].subtasks else reset,))
    scorer = Prefers(0, 1)
    state = replace(second_call(tied), env_step=30, subtask_start=25)
    BestOfNPolicy(tied, scorer, BestOfNPolicyConfig(num_candidates=2, memory_reset=True)).act(tiny.observation(), state)
    frame_contexts = scorer.frame_contexts[0]
    assert [context.subtask for context in frame_contexts] == [again, reset]
    assert [context.subtask_step for context in frame_contexts] == since
    assert {context.episode_step for context in frame_contexts} == {30 + tiny.CHUNK}
    assert {context.instruction for context in frame_contexts} == {"press the button"}


def test_looking_further_does_not_make_forgotten_words_new(tied, monkeypatch):
    monkeypatch.setattr(tied, "subtasks", lambda encoding, row: ("press it",))
    scorer = Prefers(0, 1)
    state = replace(second_call(tied), env_step=30, subtask_start=25)
    BestOfNPolicy(tied, scorer, BestOfNPolicyConfig(num_candidates=2, imagination_horizon=3, memory_reset=True)).act(
        tiny.observation(), state
    )
    lasting = [[context.subtask_step for context in frame_contexts] for frame_contexts in scorer.frame_contexts]
    assert lasting == [[5 + ahead * tiny.CHUNK] * 2 for ahead in (1, 2, 3)]


def test_looking_further_is_later(tied):
    scorer = Prefers(0, 1)
    act(tied, scorer, num_candidates=2, imagination_horizon=3)
    elapsed = [frame_contexts[0].episode_step for frame_contexts in scorer.frame_contexts]
    assert elapsed[0] == tiny.CHUNK
    assert np.diff(elapsed).tolist() == [tiny.CHUNK] * 2
