"""Memory in the prompts of a policy, and its effect on actions, with the tiny nano model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch

from wla.data.memory import MemoryConfig
from wla.models.model import ModelInputs
from wla.policy.checkpoint import Checkpoint
from wla.policy.wla_policy import WLAPolicy
from wla.types import MemoryItem

BUDGET = 40


def build(cameras: dict[str, int] | None = None, **prompt: object) -> WLAPolicy:
    checkpoint = tiny.checkpoint()
    if cameras is not None:
        backbone = checkpoint.config.model.backbone.replace(cameras=cameras)
        model = checkpoint.config.model.replace(backbone=backbone)
        torch.manual_seed(0)
        config = checkpoint.config.replace(model=model)
        checkpoint = replace(checkpoint, config=config, model=type(checkpoint.model)(model).eval())
    chosen = tiny.PROMPT.replace(**{"memory": MemoryConfig(tokens=BUDGET), **prompt})
    checkpoint = replace(checkpoint, config=checkpoint.config.replace(prompt=chosen))
    assert isinstance(checkpoint, Checkpoint)
    return WLAPolicy(checkpoint, name="tiny", checkpoint_sha256="")


class Saying:
    """A model that reads its prompt and then generates the subtasks that the test wants."""

    def __init__(self, policy: WLAPolicy, windows: list[tuple[str, ...]]) -> None:
        self.model, self.prompter, self.windows = policy.model, policy._prompter, list(windows)
        self.prompts: list[str] = []
        self.drafts: list[list[int]] = []

    def generate(self, inputs: ModelInputs):
        self.prompts.append(self.prompter.tokenizer.decode(inputs.prompts[0]))
        self.drafts += inputs.texts
        return self.model.encode(replace(inputs, texts=[self.prompter.answer(self.windows.pop(0))]))


def acted(policy: WLAPolicy, windows: list[tuple[str, ...]], *, watched: int = 1, state=None):
    """The state after acting once for each window, with `watched` observed steps after each, and the model."""
    saying = Saying(policy, windows)
    policy.model.generate = saying.generate
    state = state or policy.reset("press the button")
    for _ in windows:
        _, state = policy.act(tiny.observation(), state)
        for _ in range(watched):
            state = policy.observe(tiny.observation(), state)
    return state, saying


def test_finished_subtasks_enter_memory_with_their_steps_and_running_ones_do_not():
    state, saying = acted(build(), [("reach", "grasp"), ("reach", "grasp"), ("grasp",), ("press",)])
    assert state.memory == (MemoryItem("reach", 0, 4), MemoryItem("grasp", 4, 6))
    assert (state.subtasks, state.subtask_start, state.env_step, state.num_calls) == (("press",), 6, 8, 4)
    assert "done: now:" in saying.prompts[0]
    assert "done: now: reach; grasp;" in saying.prompts[1]
    assert "done: reach; now: grasp;" in saying.prompts[3]
    assert saying.drafts[0] == []
    assert saying.drafts[3] == saying.prompter.answer(("grasp",))


def test_an_edit_of_the_memory_is_read_at_the_next_call():
    state, _ = acted(build(), [("reach",), ("grasp",)])
    edited = replace(state, memory=(MemoryItem("press the button", 0, 1),))
    _, saying = acted(build(), [("grasp",)], state=edited)
    assert "done: press the button; now: grasp;" in saying.prompts[0]


def test_the_memory_changes_what_is_done():
    policy = build()
    plain = policy.act(tiny.observation(), policy.reset("press the button"))[0]
    prompted = policy.act(tiny.observation(), policy.reset("press the button", memory=["reach the red block"]))[0]
    assert not np.array_equal(plain.actions, prompted.actions)
    forgetful = build(memory=None)
    plain = forgetful.act(tiny.observation(), forgetful.reset("press the button"))[0]
    prompted = forgetful.act(tiny.observation(), forgetful.reset("press the button", memory=["reach"]))[0]
    np.testing.assert_array_equal(plain.actions, prompted.actions)


def test_ten_times_the_budget_leaves_the_latest_items_within_it():
    policy = build()
    kinds = ("block", "bowl", "button", "red", "in")
    words = [f"reach the {letter} {kind}" for kind in kinds for letter in "abcdefghijklmnop"]
    state, saying = acted(policy, [(text,) for text in words])
    length = policy._prompter.length
    assert sum(map(length, words)) > 10 * BUDGET
    kept = [item.text for item in state.memory]
    assert kept == words[-1 - len(kept) : -1]
    assert sum(map(length, kept)) <= BUDGET < sum(map(length, [words[-2 - len(kept)], *kept]))
    assert kept[-2] in saying.prompts[-1]


@pytest.mark.parametrize("edited", [False, True])
def test_a_memory_over_its_budget_is_refused_in_one_line(edited):
    policy = build()
    many = [f"reach block {letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    items = tuple(MemoryItem(text, 0, 1) for text in many)
    state = replace(policy.reset("press the button"), memory=items)
    message = rf"memory has \d+ tokens in 26 items, this policy reads {BUDGET}"
    with pytest.raises(ValueError, match=message) as caught:
        _ = policy.act(tiny.observation(), state) if edited else policy.reset("press the button", memory=many)
    assert "\n" not in str(caught.value)


def test_items_without_words_and_long_instructions_are_refused():
    policy = build(instruction_tokens=10)
    with pytest.raises(ValueError, match="an item of the memory is empty"):
        policy.reset("press the button", memory=["reach", " "])
    with pytest.raises(ValueError, match=r"instruction has \d+ tokens, this policy reads 10: make it shorter"):
        policy.reset("press the button and then press the button again and again")


def test_words_of_any_language_are_remembered():
    state, saying = acted(build(), [("Würfel greifen",), ("抓住方块",), ("press",)])
    assert [item.text for item in state.memory] == ["Würfel greifen", "抓住方块"]
    assert "Würfel greifen; now: 抓住方块;" in saying.prompts[-1]


def test_first_and_past_frames_are_an_option_of_nano_too():
    policy = build({"front": 32, "wrist": 16, "first front": 16, "history front": 16}, history=2)
    state = policy.reset("press the button")
    for step in range(3):
        state = policy.observe(tiny.observation(step), state)
    np.testing.assert_array_equal(state.first_frame, tiny.observation(0).images["front"])
    base = policy.act(tiny.observation(9), state)[0].actions
    first = policy.act(tiny.observation(9), replace(state, first_frame=255 - state.first_frame))[0].actions
    past = policy.act(
        tiny.observation(9), replace(state, frame_history=(255 - state.frame_history[0], state.frame_history[1]))
    )[0].actions
    assert not np.array_equal(first, base)
    assert not np.array_equal(past, base)


def test_recall_is_the_state_that_acting_would_have_left():
    policy = build()
    state, _ = acted(policy, [("reach", "grasp"), ("grasp",), ("press",)])
    remembered = policy.with_memory(policy.reset("press the button"), ["reach", "grasp"], ["press"])
    assert [item.text for item in remembered.memory] == [item.text for item in state.memory]
    assert remembered.subtasks == state.subtasks
