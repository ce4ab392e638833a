"""A row of a batch whose texts hold names of special tokens, or anything else, harms no other row."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tiny
import tiny_qwen
import torch
from hostile import SPECIAL_TOKENS, TEXTS

from wla.batch import left_pad
from wla.data.memory import MemoryConfig
from wla.policy.checkpoint import Checkpoint
from wla.policy.wla_policy import WLAPolicy
from wla.types import MemoryItem

HOSTILE = {name: text for name, text in (SPECIAL_TOKENS | TEXTS).items() if text.strip()}


def nano() -> Checkpoint:
    made = tiny.checkpoint()
    return replace(made, config=made.config.replace(prompt=tiny.PROMPT.replace(memory=MemoryConfig(tokens=200))))


KINDS = {"nano": (tiny, nano), "chat": (tiny_qwen, lambda: tiny_qwen.checkpoint(language=True, first=True))}


@pytest.fixture(scope="module", params=KINDS)
def made(request):
    module, checkpoint = KINDS[request.param]
    return WLAPolicy(checkpoint(), name="tiny", checkpoint_sha256=""), module.observation(0)


def test_the_other_rows_answer_as_alone_and_the_hostile_ones_act(made):
    policy, observation = made
    ordinary = [policy.reset("go on", seed=index) for index in range(2)]
    hostile = [
        replace(policy.reset(text, seed=9, memory=[text]), subtasks=(text, "go on"), memory=(MemoryItem(text, 0, 1),))
        for text in HOSTILE.values()
    ]
    states = [ordinary[0], *hostile, ordinary[1]]
    answers = policy.act_batch([observation] * len(states), states)
    for row, state in ((0, ordinary[0]), (-1, ordinary[1])):
        alone, _ = policy.act(observation, state)
        np.testing.assert_allclose(answers[row][0].actions, alone.actions, atol=1e-5)
        assert answers[row][0].subtasks == alone.subtasks
    # What they remember now can be read, too.
    for chunk, _ in policy.act_batch([observation] * len(states), [state for _, state in answers]):
        assert np.isfinite(chunk.actions).all()


def test_every_sample_of_a_training_batch_has_its_own_query_states(made):
    policy, _ = made
    prompter, proprio = policy._prompter, np.zeros(policy.robot_spec.observation.state_dim, np.float32)
    texts = ["go on", *SPECIAL_TOKENS.values(), "stop"]
    rows = [prompter.sample(text, proprio, [text], memory=[text], current_subtasks=[text])[0] for text in texts]
    sides = policy.model.config.backbone.cameras

    def query_hidden(rows: list[list[int]]) -> torch.Tensor:
        tokens, mask = left_pad(rows, prompter.pad)
        images = {name: torch.zeros(len(rows), side, side, 3, dtype=torch.uint8) for name, side in sides.items()}
        return policy.model.query_hidden(policy.model.backbone.encode(tokens, mask, images))[-1]

    with torch.no_grad():
        together = query_hidden(rows)
        for row in (0, 1, len(rows) - 1):
            torch.testing.assert_close(together[row], query_hidden([rows[row]])[0], atol=1e-4, rtol=1e-4)
