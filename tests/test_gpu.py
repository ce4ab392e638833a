"""Tests that need a GPU; skipped where there is none."""

from __future__ import annotations

import pytest
import tiny
import torch

from wla.policy.wla_policy import WLAPolicy

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def test_a_policy_gives_the_same_actions_on_a_gpu_and_on_the_cpu():
    policies = [
        WLAPolicy(tiny.checkpoint(), name="tiny", checkpoint_sha256="0", device=device) for device in ("cpu", "cuda")
    ]
    chunks = [policy.act(tiny.observation(), policy.reset("press the button"), imagine=True)[0] for policy in policies]
    torch.testing.assert_close(*(torch.from_numpy(chunk.actions) for chunk in chunks), atol=1e-3, rtol=1e-3)
    assert chunks[0].subtasks == chunks[1].subtasks
