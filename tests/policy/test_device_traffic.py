"""The host waits for a device where it needs an answer and nowhere else, and no operator comes back unnoticed.

`python tests/device_traffic.py` prints the counts of full calls. Who raises one here says why in docs/results/speed.md.
"""

from __future__ import annotations

from importlib.metadata import version

import device_traffic
import pytest
from packaging.version import Version

pytestmark = pytest.mark.skipif(
    Version(version("transformers")) < Version("5.4"), reason="its rotary embedding asks the meta device for autocast"
)

CALL, TRAINING_STEP = 15_575, 16_524
"""Operators of a call with text and image in two steps each, and of a micro-batch's loss and gradients."""


def call(*, deep: bool) -> device_traffic.Traffic:
    return device_traffic.of_call(language=True, imagine=True, flow_steps=2, image_steps=2, deep=deep)


def test_a_call_waits_for_text_actions_and_image_only():
    assert call(deep=False).waits == {"download": 3}


def test_a_training_step_waits_for_nothing():
    assert device_traffic.of_training_step(deep=False).waits == {}


@pytest.mark.slow
def test_a_full_size_call_needs_no_more_operators_than_it_did():
    traffic = call(deep=True)
    assert traffic.waits == {"download": 3}
    assert traffic.operators <= 1.01 * CALL


@pytest.mark.slow
def test_a_full_size_training_step_needs_no_more_operators_than_it_did():
    traffic = device_traffic.of_training_step()
    assert traffic.waits == {}
    assert traffic.operators <= 1.01 * TRAINING_STEP
