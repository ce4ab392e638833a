from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch

from wla.models.wla import WLA
from wla.policy.best_of_n import TOGETHER, Goal, ScaledPolicy, ScalingConfig
from wla.policy.checkpoint import CheckpointConfig
from wla.policy.wla_policy import WLAPolicy
from wla.types import Moment


def policy_of(config) -> WLAPolicy:
    torch.manual_seed(0)
    checkpoint = replace(
        tiny.checkpoint(), config=CheckpointConfig(model=config, prompt=tiny.PROMPT), model=WLA(config).eval()
    )
    return WLAPolicy(checkpoint, name="tiny", checkpoint_sha256="abc")


@pytest.fixture(scope="module")
def tied() -> WLAPolicy:
    return policy_of(tiny.reading_actions())


@pytest.fixture(scope="module")
def plain() -> WLAPolicy:
    return policy_of(tiny.model_config())


class Prefers:
    """Scores by the place in the batch; keeps what it was shown."""

    def __init__(self, *scores: float) -> None:
        self.scores, self.shown, self.moments = list(scores), list[np.ndarray](), list[list[Moment]]()

    def score(self, moments, images):
        self.shown.append(images)
        self.moments.append(moments)
        assert len(moments) == len(images)
        return np.array(self.scores[: len(images)], np.float32)


class Clock:
    """Every look takes a second."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def act(policy: WLAPolicy, scorer, **config):
    scaled = ScaledPolicy(policy, scorer, ScalingConfig(**config))
    return scaled.act(tiny.observation(), scaled.reset("press the button", seed=3))


def test_one_candidate_is_what_the_policy_does_alone(tied):
    chunk, state = act(tied, Prefers(1), candidates=1)
    alone, after = tied.act(tiny.observation(), tied.reset("press the button", seed=3))
    np.testing.assert_allclose(chunk.actions, alone.actions, atol=1e-6)
    assert (chunk.subtasks, state) == (alone.subtasks, after)


@pytest.mark.parametrize("kind", ["tied", "plain"])
def test_the_best_is_run_and_all_is_reported(kind, request):
    policy = request.getfixturevalue(kind)
    chunk, _ = act(policy, Prefers(0, 3, 1), candidates=3)
    state = policy.reset("press the button", seed=3)
    proposed = policy.propose(policy.think([tiny.observation()], [state]), 3)[0]
    assert len({actions.tobytes() for actions in proposed}) == 3
    np.testing.assert_array_equal(chunk.actions, proposed[1])
    found = chunk.candidates
    assert found is not None
    assert (found.chosen, found.horizon, found.scores.tolist()) == (1, 1, [0, 3, 1])
    assert found.images.shape == (3, 32, 32, 3)
    np.testing.assert_array_equal(chunk.subgoal, found.images[1])


def test_the_backbone_reads_once_for_all_candidates(tied, monkeypatch):
    reads = []
    original = type(tied.model.backbone).read
    monkeypatch.setattr(
        type(tied.model.backbone), "read", lambda self, *args, **more: reads.append(1) or original(self, *args, **more)
    )
    act(tied, Prefers(*range(6)), candidates=6)
    assert len(reads) == 1


def test_tied_images_differ_by_their_actions_alone(tied):
    thought = tied.think([tiny.observation()], [tied.reset("press the button")])
    same = np.zeros((1, 2, tiny.CHUNK, tiny.ACTION), np.float32)
    first, second = tied.picture(thought, samples=2, actions=same, same_noise=True)[0]
    np.testing.assert_array_equal(first, second)
    chunk, _ = act(tied, Prefers(0, 1), candidates=2)
    assert not np.array_equal(*chunk.candidates.images)


def test_plain_images_differ_by_noise_alone(tied):
    count = TOGETHER + 2
    chunk, _ = act(tied, Prefers(*range(count)), candidates=count, plain=True)
    thought = tied.think([tiny.observation()], [tied.reset("press the button", seed=3)])
    images = tied.picture(thought, samples=count)[0]
    np.testing.assert_allclose(chunk.candidates.images.astype(int), images.astype(int), atol=1)
    assert len({image.tobytes() for image in images}) == count


def test_looking_further_goes_on_from_what_was_imagined(tied):
    scorer = Prefers(1, 0, 2)
    chunk, _ = act(tied, scorer, candidates=3, horizon=2)
    assert [len(images) for images in scorer.shown] == [3, 3]
    assert chunk.candidates.horizon == 2
    np.testing.assert_array_equal(chunk.candidates.images, scorer.shown[1])
    np.testing.assert_array_equal(chunk.subgoal, scorer.shown[0][2])  # what its own chunk leads to
    assert not np.array_equal(scorer.shown[0], scorer.shown[1])


def test_the_same_call_gives_the_same_answer(tied):
    (first, _), (second, _) = (act(tied, Prefers(1, 2), candidates=2, horizon=2) for _ in range(2))
    np.testing.assert_array_equal(first.actions, second.actions)
    np.testing.assert_array_equal(first.candidates.images, second.candidates.images)


@pytest.mark.parametrize("plain", [False, True])
def test_when_time_is_over_the_best_so_far_is_run(tied, plain):
    scorer = Prefers(*range(3 * TOGETHER))
    config = ScalingConfig(candidates=3 * TOGETHER, horizon=5, budget_ms=1500, plain=plain)
    scaled = ScaledPolicy(tied, scorer, config, Clock())
    chunk, _ = scaled.act(tiny.observation(), scaled.reset("press the button"))
    assert chunk.candidates.chosen == TOGETHER - 1  # one group, one chunk ahead
    assert chunk.candidates.horizon == 1
    roomy = ScaledPolicy(tied, scorer, config.model_copy(update={"budget_ms": 5500}), Clock())
    chunk, _ = roomy.act(tiny.observation(), roomy.reset("press the button"))
    assert (len(chunk.candidates.images), chunk.candidates.horizon) == (3 * TOGETHER, 2)


def test_a_budget_smaller_than_one_candidate_leaves_what_the_policy_does_alone(tied):
    scorer = Prefers(0, 1)
    scaled = ScaledPolicy(tied, scorer, ScalingConfig(candidates=2, budget_ms=500), Clock())
    with pytest.warns(UserWarning, match="budget_ms 500 is over before a candidate is imagined"):
        chunk, after = scaled.act(tiny.observation(), scaled.reset("press the button", seed=3))
    alone, state = tied.act(tiny.observation(), tied.reset("press the button", seed=3))
    np.testing.assert_allclose(chunk.actions, alone.actions, atol=1e-6)
    assert (chunk.candidates, after) == (None, state)
    assert not scorer.shown


def test_an_image_of_the_goal_scores_by_agreement():
    goal = np.full((4, 4, 3), 100, np.uint8)
    images = np.stack([goal + 9, goal, goal - 3])
    assert Goal(goal).score([Moment("go")] * 3, images).tolist() == [-9, 0, -3]
    with pytest.raises(ValueError, match="the goal is an image"):
        Goal(goal).score([Moment("go")], np.zeros((1, 8, 8, 3), np.uint8))


def test_candidates_and_horizon_may_be_asked_for_at_a_call(tied):
    scaled = ScaledPolicy(tied, Prefers(*range(5)), ScalingConfig())
    state = scaled.reset("press the button")
    chunk, _ = scaled.act(tiny.observation(), state, candidates=5, horizon=2)
    assert (len(chunk.candidates.scores), chunk.candidates.horizon) == (5, 2)


@pytest.mark.parametrize("instead", [{"candidates": 0}, {"horizon": 0}])
def test_no_candidates_or_chunks_ahead_are_refused_at_a_call(tied, instead):
    scaled = ScaledPolicy(tied, Prefers(0), ScalingConfig())
    with pytest.raises(ValueError, match=f"{next(iter(instead))}\n.*greater than or equal to 1"):
        scaled.act(tiny.observation(), scaled.reset("press the button"), **instead)


def test_a_policy_without_imagination_cannot_weigh():
    checkpoint = tiny.checkpoint()
    blind = replace(checkpoint, model=WLA(checkpoint.config.model, imagination=False).eval())
    with pytest.raises(ValueError, match="weighing candidates needs imagination"):
        ScaledPolicy(WLAPolicy(blind, name="tiny", checkpoint_sha256="abc"), Prefers(1), ScalingConfig())


def said_before(policy: WLAPolicy):
    return policy.recall(policy.reset("press the button", seed=3), memory=["reach the button"], window=["press it"])


def test_half_of_the_candidates_may_forget_what_was_done(tied, monkeypatch):
    prompts = []
    original = type(tied).inputs
    monkeypatch.setattr(
        type(tied), "inputs", lambda self, seen, states: prompts.append(states) or original(self, seen, states)
    )
    scorer = Prefers(0, 0.3, 0.35, 0.4)
    scaled = ScaledPolicy(tied, scorer, ScalingConfig(candidates=4, afresh=True))
    chunk, after = scaled.act(tiny.observation(), said_before(tied))
    assert len(prompts) == 1  # read together
    assert [bool(state.memory or state.subtasks) for state in prompts[0]] == [True, False]
    assert (chunk.candidates.chosen, len(chunk.candidates.images)) == (3, 4)
    assert chunk.candidates.afresh == (False, False, True, True)
    words = [moment.doing for moment in scorer.moments[0]]
    assert list(chunk.candidates.doing) == words
    assert words[3] == "".join(chunk.subtasks[-1:])
    forgotten = tied.recall(said_before(tied), memory=(), window=())
    assert after == tied.said(chunk.subtasks, tiny.observation(), forgotten)
    thought = tied.think([tiny.observation()], [forgotten])
    np.testing.assert_allclose(chunk.actions, tied.propose(thought, 2)[0, 1], atol=1e-4)


@pytest.mark.parametrize("chosen", [0, 3])
def test_with_the_candidate_its_reading_goes_on(tied, chosen):
    scaled = ScaledPolicy(tied, Prefers(*np.eye(4)[chosen]), ScalingConfig(candidates=4, afresh=True, horizon=2))
    chunk, after = scaled.act(tiny.observation(), said_before(tied))
    assert chunk.candidates.chosen == chosen
    remembering = said_before(tied) if chosen == 0 else tied.recall(said_before(tied), memory=(), window=())
    assert after == tied.said(chunk.subtasks, tiny.observation(), remembering)


@pytest.mark.parametrize(("margin", "chosen"), [(0, 3), (0.3, 3), (0.4, 0), (1, 0)])
def test_another_candidate_is_run_where_it_is_better_by_the_margin(tied, margin, chosen):
    scorer = Prefers(0.5, 0.1, 0.6, 0.875)
    chunk, _ = act(tied, scorer, candidates=4, margin=margin)
    assert chunk.candidates.chosen == chosen
    np.testing.assert_array_equal(chunk.subgoal, chunk.candidates.images[chosen])


def test_what_is_begun_afresh_may_not_be_run_by_less_than_the_margin(tied):
    scaled = ScaledPolicy(tied, Prefers(0.5, 0.5, 0.75, 0.5), ScalingConfig(candidates=4, afresh=True, margin=0.5))
    state = said_before(tied)
    chunk, after = scaled.act(tiny.observation(), state)
    alone, remembering = tied.act(tiny.observation(), state)
    np.testing.assert_allclose(chunk.actions, alone.actions, atol=1e-4)
    assert after == remembering


def test_where_there_is_nothing_to_forget_all_candidates_are_of_one_kind(tied):
    chunk, _ = act(tied, Prefers(0, 1, 2, 3), candidates=4, afresh=True)
    assert (chunk.candidates.chosen, any(chunk.candidates.afresh)) == (3, False)


def test_halves_of_an_odd_number_are_refused(tied):
    with pytest.raises(ValueError, match="candidates 3: half of them begin afresh; make it an even number"):
        ScalingConfig(candidates=3, afresh=True)
    scaled = ScaledPolicy(tied, Prefers(0, 1), ScalingConfig(candidates=2, afresh=True))
    with pytest.raises(ValueError, match="candidates 5: half of them"):
        scaled.act(tiny.observation(), scaled.reset("press the button"), candidates=5)


@pytest.mark.parametrize(
    ("again", "afresh", "since"),
    [
        ("press it", "reach the button", [5 + tiny.CHUNK, tiny.CHUNK // 2]),
        ("press it", "press it", [5 + tiny.CHUNK] * 2),  # forgetting that it was said does not make it new
        ("let go", "press it", [tiny.CHUNK // 2, 5 + tiny.CHUNK]),
    ],
)
def test_the_scorer_is_told_the_moment_of_each_candidate(tied, monkeypatch, again, afresh, since):
    monkeypatch.setattr(tied, "subtasks", lambda thought, row: (again if thought.states[row].subtasks else afresh,))
    scorer = Prefers(0, 1)
    state = replace(said_before(tied), time=30, began=25)
    ScaledPolicy(tied, scorer, ScalingConfig(candidates=2, afresh=True)).act(tiny.observation(), state)
    moments = scorer.moments[0]
    assert [moment.doing for moment in moments] == [again, afresh]
    assert [moment.since for moment in moments] == since
    assert {moment.elapsed for moment in moments} == {30 + tiny.CHUNK}
    assert {moment.instruction for moment in moments} == {"press the button"}


def test_looking_further_does_not_make_forgotten_words_new(tied, monkeypatch):
    monkeypatch.setattr(tied, "subtasks", lambda thought, row: ("press it",))
    scorer = Prefers(0, 1)
    state = replace(said_before(tied), time=30, began=25)
    ScaledPolicy(tied, scorer, ScalingConfig(candidates=2, horizon=3, afresh=True)).act(tiny.observation(), state)
    lasting = [[moment.since for moment in moments] for moments in scorer.moments]
    assert lasting == [[5 + ahead * tiny.CHUNK] * 2 for ahead in (1, 2, 3)]


def test_looking_further_is_later(tied):
    scorer = Prefers(0, 1)
    act(tied, scorer, candidates=2, horizon=3)
    elapsed = [moments[0].elapsed for moments in scorer.moments]
    assert elapsed[0] == tiny.CHUNK
    assert np.diff(elapsed).tolist() == [tiny.CHUNK] * 2
