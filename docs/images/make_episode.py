"""Draw docs/images/episode.png: what the bundled `nano-memory` sees, predicts and remembers in one episode.

python docs/images/make_episode.py
"""

from __future__ import annotations

import textwrap
from pathlib import Path

import matplotlib.pyplot as plt

import wla
from wla.envs import make_env
from wla.types import ActionChunk, Observation

TASK, SEED, COLUMNS = "press_count", 10_004, 6


def run() -> tuple[str, list[tuple[Observation, ActionChunk, tuple[str, ...]]]]:
    """Returns the instruction, and for each call the observation, the prediction and the memory before it."""
    env = make_env("tabletop", task=TASK, image_size=96)
    policy = wla.load_policy("nano-memory", imagination=True)
    raw, info = env.reset(seed=SEED)
    state = policy.reset(info["instruction"], seed=0)
    calls, done = [], False
    while not done:
        observation = Observation(**raw)
        memory = tuple(item.text for item in state.memory)
        chunk, state = policy.act(observation, state, imagine=True)
        calls.append((observation, chunk, memory))
        for action in chunk.actions[: chunk.replan_steps]:
            raw, _, terminated, truncated, info = env.step(action)
            if done := terminated or truncated:
                break
    print("success" if info["success"] else "failure", len(calls), "calls")
    return state.instruction, calls


def main() -> None:
    instruction, calls = run()
    shown = [calls[round(i * (len(calls) - 1) / (COLUMNS - 1))] for i in range(COLUMNS)]
    figure, axes = plt.subplots(2, COLUMNS, figsize=(2 * COLUMNS, 5.0), layout="constrained")
    figure.suptitle(f"“{instruction}”", fontsize=12)
    for column, (observation, chunk, memory) in enumerate(shown):
        for row, image in enumerate((observation.images["front"], chunk.subgoal)):
            axes[row, column].imshow(image, interpolation="nearest")
            axes[row, column].set_xticks([])
            axes[row, column].set_yticks([])
        axes[0, column].set_title("\n".join(textwrap.wrap(", then ".join(chunk.subtasks), 24)), fontsize=8)
        text = "remembers: " + ("; ".join(memory) or "nothing yet")
        axes[1, column].set_xlabel("\n".join(textwrap.wrap(text, 28)), fontsize=7)
    axes[0, 0].set_ylabel("sees")
    axes[1, 0].set_ylabel("imagines, 0.8 s ahead")
    figure.savefig(Path(__file__).parent / "episode.png", dpi=110)


if __name__ == "__main__":
    main()
