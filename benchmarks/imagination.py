"""What acting brings about against the image that the policy showed of it: `act(..., imagine=True)`, run to its end.

Command:  python benchmarks/imagination.py POLICY [--episodes 4] [--split validation]
Appends a line to benchmarks/imagination.jsonl. The policy acts by itself, all of each chunk is run, and the image that
came with the chunk is compared with the frame that came after it, on the pixels that changed: beside the present frame
in its place (to beat), and the frame that came through the codec and back (the best that can be imagined). Intervals
are by episode.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict

import numpy as np
import torch
from torch import Tensor

from wla.bench.stored import store
from wla.data.transforms import resize
from wla.envs.registry import load_family, make_env
from wla.envs.seeds import seed_range
from wla.evaluation.image_metrics import compare_images
from wla.evaluation.world_metrics import CHANGE_LEVELS
from wla.intervals import mean_by_episode
from wla.policy.wla_policy import WLAPolicy, load_policy
from wla.progress import track
from wla.types import Observation

FAMILY = load_family("tabletop")
TASKS = [task for task in FAMILY.tasks if task not in FAMILY.video_tasks]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("policy")
    parser.add_argument("--episodes", type=int, default=4, help="of each task")
    parser.add_argument("--tasks", nargs="+", default=TASKS)
    parser.add_argument("--split", choices=["evaluation", "validation"], default="evaluation")
    arguments = parser.parse_args()
    first = seed_range(arguments.split).start
    seeds = range(first, first + arguments.episodes)
    policy = load_policy(arguments.policy, imagination=True)
    cases = [(task, seed) for task in arguments.tasks for seed in seeds]
    episodes = [found for case in track(cases, description="acting") if len(found := psnr(policy, *case))]
    found = np.concatenate(episodes)
    store(
        "imagination",
        {
            "policy": arguments.policy,
            "checkpoint_sha256": policy.checkpoint_sha256,
            "tasks": list(arguments.tasks),
            "seeds": f"{seeds[0]}..{seeds[-1]}",
            "episodes": len(episodes),
            "n": len(found),
            **{
                f"{name}, dB": round(float(value), 2)
                for name, value in zip(("imagined", "the present", "through the codec"), found.mean(0), strict=True)
            },
            "above the present, dB": difference(episodes, 0, 1),
            "below the codec, dB": difference(episodes, 2, 0),
        },
    )


def psnr(policy: WLAPolicy, task: str, seed: int) -> np.ndarray:
    """dB on the pixels that changed, of what was imagined, of the present, and through the codec: (chunks, 3)."""
    triples = list(act(policy, task, seed))
    if not triples:
        return np.zeros((0, 3))
    codec = policy.model.codec
    assert codec is not None
    now, imagined, came = (torch.cat(images) for images in zip(*triples, strict=True))
    where = (now.int() - came.int()).abs().amax(-1) >= CHANGE_LEVELS
    some = where.flatten(1).any(1)
    candidates = (imagined, now, codec.decode(codec.encode(came)))
    found = [compare_images(images, came, where, codec).psnr[some] for images in candidates]
    return torch.stack(found, dim=1).numpy()


def act(policy: WLAPolicy, task: str, seed: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """For each chunk that is run to its end: the present, what was imagined, and what came."""
    env = make_env("tabletop", task=task, setting="clean", embodiment="gantry")
    side, camera = policy.model.config.target_side, policy.robot_spec.observation.primary_camera
    raw, info = env.reset(seed=seed)
    state = policy.reset(info["instruction"], seed=seed)
    over = False
    while not over:
        seen = Observation(**raw)
        chunk, state = policy.act(seen, state, imagine=True)
        assert chunk.subgoal is not None
        for index, action in enumerate(chunk.actions):
            raw, _, terminated, truncated, _ = env.step(action)
            over = terminated or truncated
            if over:
                break
            if index + 1 < len(chunk.actions):
                state = policy.observe(Observation(**raw), state)
        else:
            now, came = (resize(images[None], side) for images in (seen.images[camera], raw["images"][camera]))
            yield now, torch.from_numpy(chunk.subgoal)[None], came
    env.close()


def difference(episodes: Sequence[np.ndarray], better: int, worse: int) -> dict[str, float | int | str] | None:
    """The mean difference of two columns over all chunks, and its 95 % interval; None for a single episode."""
    sums = [float((found[:, better] - found[:, worse]).sum()) for found in episodes]
    interval = mean_by_episode(sums, [len(found) for found in episodes], kind="paired by episode")
    return interval and asdict(interval)


if __name__ == "__main__":
    main()
