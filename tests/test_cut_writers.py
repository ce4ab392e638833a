"""Every writer, killed at every file call: the old result or the new one can be read, and the same call continues."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny
from cuts import cut_everywhere
from fakes import TASK_VARIANT, build, spec

from wla.data.lerobot.reader import LeRobotDataset
from wla.data.lerobot.relabel import relabel
from wla.data.memory_replay import MemoryReplay
from wla.data.published_statistics import read_published, write_published
from wla.evaluation.benchmark import evaluate
from wla.evaluation.episode_files import read_episodes
from wla.evaluation.report import write_report
from wla.evaluation.summary import Identity
from wla.policy.checkpoint import load_checkpoint, save_pretrained
from wla.policy.checkpoint_files import convert_checkpoint
from wla.rollout.dataset_recording import record
from wla.rollout.results import read_results
from wla.rollout.runner import EpisodeRunner

IDENTITY = Identity(policy="walker", checkpoint_sha256=None, replan_steps=None)
FRAMES = np.array([0])
EVERY = pytest.mark.parametrize("every", [25, pytest.param(1, marks=pytest.mark.slow)])
"""The quick tests cut at some calls, the slow ones at all."""


def nothing(root: Path) -> None:
    root.mkdir(parents=True)


def leftovers(root: Path) -> list[str]:
    """Names of staging folders."""
    return [
        path.name for path in root.rglob("*") if path.name.endswith((".writing", ".part")) or ".staging" in path.name
    ]


@EVERY
def test_a_checkpoint_is_the_old_or_the_new_one(tmp_path, every):
    old = tiny.checkpoint()
    new = tiny.checkpoint()
    new = type(new)(**vars(new) | {"config": new.config.replace(trained_steps=7)})

    def write(root: Path) -> None:
        save_pretrained(new, root / "policy")

    def check(root: Path, completed: bool) -> None:
        steps = load_checkpoint(root / "policy").config.trained_steps
        assert steps == 7 if completed else steps in (0, 7)
        write(root)
        assert load_checkpoint(root / "policy").config.trained_steps == 7
        assert not leftovers(root)

    cut_everywhere(tmp_path, lambda root: save_pretrained(old, root / "policy"), write, check, every=every)


@EVERY
def test_a_converted_checkpoint_is_whole_or_absent(tmp_path, every):
    save_pretrained(tiny.checkpoint(), tmp_path / "policy")

    def write(root: Path) -> None:
        convert_checkpoint(tmp_path / "policy", root / "half")

    def check(root: Path, completed: bool) -> None:
        if completed or (root / "half").exists():
            load_checkpoint(root / "half")
        else:
            write(root)
            assert not leftovers(root)

    cut_everywhere(tmp_path / "cuts", nothing, write, check, every=every)


@EVERY
def test_a_collection_holds_each_seed_once(tmp_path, every):
    def write(root: Path, seeds: range = range(4)) -> None:
        record([TASK_VARIANT], seeds, EpisodeRunner(build, "expert"), spec(), root / "data")

    def check(root: Path, completed: bool) -> None:
        write(root)
        data = LeRobotDataset(root / "data")
        assert sorted(episode.seed for episode in data.episodes) == [0, 2]
        assert sorted(result.seed for result in read_results(root / "data" / "collect.jsonl")) == list(range(4))
        assert not leftovers(root)

    cut_everywhere(tmp_path, lambda root: (root.mkdir(), write(root, range(1))), write, check, every=every)


@EVERY
def test_an_evaluation_holds_each_episode_once_and_gets_its_report(tmp_path, every):
    def write(root: Path) -> None:
        runner = EpisodeRunner(build, "walker")
        evaluate([(TASK_VARIANT, seed) for seed in range(3)], runner, IDENTITY, root / "out", max_videos=2)
        write_report(root / "out")

    def check(root: Path, completed: bool) -> None:
        write(root)
        assert sorted(result.seed for result in read_results(root / "out" / "results.jsonl")) == [0, 1, 2]
        assert read_episodes(root / "out" / "episodes")
        assert (root / "out" / "report.html").stat().st_size > 1000
        assert not leftovers(root)

    cut_everywhere(tmp_path, nothing, write, check, every=every)


@EVERY
def test_labels_are_the_old_or_the_new_ones(tmp_path, every):
    def write(root: Path) -> None:
        data = LeRobotDataset(root / "data")
        relabel(data, ["new"] * len(data))

    def check(root: Path, completed: bool) -> None:
        before = set(LeRobotDataset(root / "data").subtask_texts)
        assert before == {"new"} if completed else before
        write(root)
        assert set(LeRobotDataset(root / "data").subtask_texts) == {"new"}

    cut_everywhere(tmp_path, lambda root: tiny.write_dataset(root / "data"), write, check, every=every)


def test_statistics_and_memories_are_the_old_or_the_new_ones(tmp_path):
    dims = {"state_dim": tiny.STATE, "action_dim": tiny.ACTION}
    memory = MemoryReplay(frames=FRAMES, memories=[("a",)], subtasks=[("b",)])

    def write(root: Path) -> None:
        write_published(root / "statistics.json", {"robot": tiny.checkpoint().robot.statistics})
        memory.save(root / "memory.parquet")

    def check(root: Path, completed: bool) -> None:
        read_published(root / "statistics.json", "robot", **dims)
        MemoryReplay.load(root / "memory.parquet", FRAMES)
        write(root)
        assert not leftovers(root)

    cut_everywhere(tmp_path, lambda root: (root.mkdir(), write(root)), write, check)
