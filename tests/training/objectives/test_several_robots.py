"""Several robots in one policy: identified by name, padded to the widest, each with ranges of its own."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

from wla.cli.main import main
from wla.data.dataset_config import DatasetConfig
from wla.data.lerobot.writer import DatasetWriter
from wla.models.configs import WLAConfig
from wla.policy.checkpoint import load_checkpoint, save_checkpoint
from wla.policy.wla_policy import load_policy
from wla.rollout.build import load_shared
from wla.rollout.recorded_episodes import load_with_dataset
from wla.specs import ActionSpec, ObservationSpec, RobotSpec
from wla.training import FromCheckpoint, FromScratch, LoopConfig, OptimConfig, PolicyTrainConfig
from wla.training.objectives.policy_data import PolicyData
from wla.training.trainer import train
from wla.types import Observation

LONG, SHORT, CHUNK = 5, 2, 4


def robot(name: str, dim: int, cameras: Sequence[str], *, state_dim: int | None = None, high: float = 1.0) -> RobotSpec:
    states = tuple(f"joint {index}" for index in range(dim if state_dim is None else state_dim))
    return RobotSpec(
        embodiment=name,
        action=ActionSpec(
            names=tuple(f"joint {index}" for index in range(dim)),
            units=("rad",) * dim,
            kinds=("absolute",) * dim,
            low=(-high,) * dim,
            high=(high,) * dim,
            frame="joint",
            gripper="none",
            rate_hz=10.0,
        ),
        observation=ObservationSpec(
            cameras=dict.fromkeys(cameras, (32, 32)),
            state_names=states,
            state_units=("rad",) * len(states),
            state_frame="joint",
        ),
    )


LONG_ARM = robot("long arm", LONG, ("front", "wrist"))
SHORT_ARM = robot("short-arm", SHORT, ("top",), high=10.0)


def observe(spec: RobotSpec, seed: int = 0) -> Observation:
    rng, scale = np.random.default_rng(seed), spec.action.high[0]
    images = {name: rng.integers(0, 256, (*size, 3), np.uint8) for name, size in spec.observation.cameras.items()}
    return Observation(images, (scale * rng.uniform(-1, 1, spec.observation.state_dim)).astype(np.float32))


def record(root: Path, spec: RobotSpec, *, episodes: int = 2, length: int = 10, seed: int = 0) -> Path:
    rng, scale = np.random.default_rng(0), spec.action.high[0]
    with DatasetWriter(root, spec) as writer:
        for episode in range(episodes):
            for step in range(length):
                seen = observe(spec, 100 * episode + step)
                action = (scale * rng.uniform(-1, 1, spec.action.dim)).astype(np.float32)
                writer.add_frame(seen.images, seen.state, action, tiny.SUBTASKS[2 * step // length])
            writer.end_episode(tiny.INSTRUCTIONS[episode % 2], keep=True, seed=seed + episode)
    return root


def model(state_dim: int = LONG, action_dim: int = LONG) -> WLAConfig:
    config = tiny.model_config()
    return config.replace(action_expert=config.action_expert.replace(state_dim=state_dim, action_dim=action_dim))


def recipe(*folders: Path, **changes) -> PolicyTrainConfig:
    fields = {
        "model": model(),
        "init": FromScratch(prompt=tiny.PROMPT, codec=str(folders[0].parent / "base")),
        "datasets": tuple(DatasetConfig(path=str(folder), cache_frames=False) for folder in folders),
        "loop": LoopConfig(optim=OptimConfig(steps=1, learning_rate=1e-3), batch_size=4),
    }
    return PolicyTrainConfig(**{**fields, **changes})


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("robots")
    save_checkpoint(tiny.checkpoint(), root / "base")
    return record(root / "long", LONG_ARM), record(root / "short", SHORT_ARM)


@pytest.fixture(scope="module")
def run(folders: tuple[Path, Path], tmp_path_factory) -> Path:
    """A policy for both, trained for a step."""
    out = tmp_path_factory.mktemp("several") / "run"
    config = recipe(*folders)
    return train(config.build(), config.loop, out)


def batch_of(objective, folder: Path):
    """Samples of the objective's batches that come from a dataset: its batch, their rows."""
    batch = objective.sample_batch(32, torch.Generator().manual_seed(0))
    return batch, [row for row, name in enumerate(batch.ids) if name.startswith(str(folder))]


def test_a_batch_is_padded_to_the_widest_and_its_prompts_name_the_robot(folders: tuple[Path, Path]) -> None:
    objective = recipe(*folders, instruction_dropout=0.0).build()
    batch, rows = batch_of(objective, folders[1])
    assert 0 < len(rows) < 32
    assert batch.action_dims is not None
    assert batch.action_dims[rows].unique().tolist() == [SHORT]
    assert not batch.action_mask[rows][..., SHORT:].any()
    assert not batch.actions[rows][..., SHORT:].any()
    assert not batch.state[rows][:, SHORT:].any()
    assert batch.action_mask[rows][:, 0, :SHORT].all()
    assert batch.actions[rows][..., :SHORT].abs().max() <= 1  # in ranges of its own, not those of the other
    assert batch.actions[rows][..., :SHORT].abs().max() > 0.5
    others = [row for row in range(32) if row not in rows]
    assert batch.action_mask[others][:, 0].all()
    assert not batch.images["wrist"][rows].any()
    assert batch.images["wrist"][others].any()
    assert batch.images["front"][rows].any()  # its only camera is its primary one
    texts = {row: objective.checkpoint.tokenizer.decode(batch.tokens[row]) for row in range(32)}
    assert all(("short-arm: " in texts[row], "long arm: " in texts[row]) == (True, False) for row in rows)
    assert all(("short-arm: " in texts[row], "long arm: " in texts[row]) == (False, True) for row in others)
    location = objective.checkpoint.prompter.first_location
    counts = ((batch.tokens >= location) & (batch.tokens < location + tiny.PROMPT.locations)).sum(1)
    assert {int(counts[row]) for row in rows} == {SHORT}  # padding is not read


def test_losses_ignore_padding(folders: tuple[Path, Path]) -> None:
    objective = recipe(
        folders[1],
        folders[0],
        datasets=(DatasetConfig(path=str(folders[0]), weight=1e-9), DatasetConfig(path=str(folders[1]), weight=1.0)),
    ).build()
    batch = objective.sample_batch(4, torch.Generator().manual_seed(0))
    assert all(name.startswith(str(folders[1])) for name in batch.ids)
    losses = objective.model.compute_loss(batch, torch.Generator().manual_seed(1))
    losses["action"].backward()
    expert = objective.model.action_expert
    assert expert.decoder[-1].weight.grad[:SHORT].any()
    assert not expert.decoder[-1].weight.grad[SHORT:].any()
    assert not expert.action_encoder.weight.grad[:, SHORT:].any()
    assert not expert.state_encoder[0].weight.grad[:, SHORT:].any()


def test_a_checkpoint_acts_for_each_of_its_robots(run: Path, tmp_path: Path) -> None:
    assert {each.name for each in run.iterdir()} & {
        "robot.json",
        "robots.json",
        "statistics.json",
    } == {"robots.json"}
    answers = {}
    for spec in (LONG_ARM, SHORT_ARM):
        policy = load_policy(run, robot=spec.embodiment)
        assert policy.robot_spec == spec
        assert load_policy(run, robot=spec).robot_spec == spec
        seen = observe(spec)
        chunk, state = policy.act(seen, policy.reset("press the button"))
        assert chunk.actions.shape == (CHUNK, spec.action.dim)
        policy.act(seen, policy.observe(seen, state))
        answers[spec.embodiment] = chunk.actions
        _, prompt = policy.inputs_of(seen, policy.reset("press the button"))
        assert f"{spec.embodiment}: press the button" in prompt
    full = load_policy(run, imagination=True, robot="short-arm")
    assert full.primary == "top"
    assert full.act(observe(SHORT_ARM), full.reset("go"), imagine=True)[0].subgoal is not None
    full.save_pretrained(tmp_path / "copy")
    copy = load_policy(tmp_path / "copy", robot="long arm")
    again, _ = copy.act(observe(LONG_ARM), copy.reset("press the button"))
    assert np.array_equal(again.actions, answers["long arm"])
    assert "policy for `long arm`, `short-arm`" in (tmp_path / "copy/README.md").read_text("utf-8")


def test_noise_in_the_padding_changes_nothing(run: Path) -> None:
    policy = load_policy(run, robot="short-arm")
    encoding = policy.encode([observe(SHORT_ARM)], [policy.reset("go")])
    noise = torch.randn(1, CHUNK, LONG, generator=torch.Generator().manual_seed(0))
    other = torch.cat([noise[..., :SHORT], noise[..., SHORT:] + 3], -1)
    with torch.inference_mode():
        first, second = (policy.model.sample_actions(encoding.model, noise=each) for each in (noise, other))
    assert torch.equal(first, second)
    assert not first[..., SHORT:].any()


def test_each_robot_has_ranges_of_its_own(run: Path, folders: tuple[Path, Path]) -> None:
    robots = load_checkpoint(run).robots
    assert [robot.spec.embodiment for robot in robots] == ["long arm", "short-arm"]
    assert [robot.statistics.action.dim for robot in robots if robot.statistics.action] == [LONG, SHORT]
    short = robots[1].statistics
    alone = recipe(folders[1], model=model(SHORT, SHORT).replace(backbone=top_camera())).build()
    assert alone.checkpoint.robot.statistics == short


def top_camera():
    return tiny.model_config().backbone.replace(cameras={"top": 32})


def test_the_robot_has_to_be_named(run: Path) -> None:
    for name, message in (
        (None, r"is for several robots \(long arm, short-arm\); name one: --robot"),
        ("short_arm", "has no robot 'short_arm'; did you mean 'short-arm'"),
        ("gantry", "has no robot 'gantry'; it is for long arm, short-arm"),
        (tiny.robot_spec(), "has no robot 'toy'; it is for long arm, short-arm"),
    ):
        with pytest.raises(ValueError, match=message):
            load_policy(run, robot=name)


def test_a_policy_of_one_robot_has_no_other(folders: tuple[Path, Path]) -> None:
    base = folders[0].parent / "base"
    assert (base / "robot.json").is_file()
    name = tiny.robot_spec().embodiment
    assert load_policy(base, robot=name).robot_spec == load_policy(base).robot_spec == tiny.robot_spec()
    with pytest.raises(ValueError, match=f"has no robot 'short-arm'; it is for {name}"):
        load_policy(base, robot="short-arm")


def test_what_cannot_be_distinguished_is_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "base").symlink_to(folders[0].parent / "base")
    same_name = record(tmp_path / "same", robot("long arm", SHORT, ("front",)))
    with pytest.raises(
        ValueError, match=r"are for different robots: .* Or name them apart: both are called 'long arm'"
    ):
        recipe(folders[0], same_name).build()
    with pytest.raises(ValueError, match="has the ranges of one robot, and the datasets are of several"):
        recipe(*folders, statistics={"path": "ranges.json"}).build()
    validation = record(tmp_path / "validation", SHORT_ARM, seed=10_000)
    data = PolicyData.open(recipe(folders[0]))
    with pytest.raises(ValueError, match="the robot 'short-arm' is not one that is trained on \\(long arm\\)"):
        data.held_out(recipe(folders[0], validation_datasets=(DatasetConfig(path=str(validation)),)))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (model(SHORT, LONG), "is for 2 state dimensions and the widest of the robots .* has 5: make state_dim 5"),
        (model(LONG, LONG + 1), "is for 6 action dimensions and the widest of the robots .* has 5: make action_dim 5"),
        (
            model().replace(backbone=tiny.model_config().backbone.replace(cameras={"front": 32, "side": 16})),
            "needs camera 'side' and none of the robots long arm, short-arm has it",
        ),
    ],
)
def test_the_model_is_as_wide_as_the_widest(config: WLAConfig, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config.interface.require_robots([LONG_ARM, SHORT_ARM], [LONG, SHORT], model="the model", robot="data")


def test_training_continues_for_all_of_its_robots(run: Path, folders: tuple[Path, Path]) -> None:
    before = load_checkpoint(run)
    config = recipe(folders[1], init=FromCheckpoint(policy=str(run)))
    objective = config.build()
    assert {robot.spec.embodiment for robot in objective.checkpoint.robots} == {"long arm", "short-arm"}
    assert {robot.spec.embodiment: robot.statistics for robot in objective.checkpoint.robots} == {
        robot.spec.embodiment: robot.statistics for robot in before.robots
    }
    batch = objective.sample_batch(4, torch.Generator().manual_seed(0))
    assert batch.action_dims is not None


@pytest.mark.slow
def test_a_run_for_several_robots_is_resumed(run: Path, folders: tuple[Path, Path], tmp_path: Path) -> None:
    config = recipe(folders[1], init=FromCheckpoint(policy=str(run)))
    train(config.build(), config.loop, tmp_path / "out")
    longer = config.loop.replace(optim=config.loop.optim.replace(steps=2))
    train(config.replace(loop=longer).build(), longer, tmp_path / "out", resume=True)
    assert load_policy(tmp_path / "out", robot="long arm").robot_spec == LONG_ARM


def test_videos_of_another_robot_are_of_none_of_them(folders: tuple[Path, Path], tmp_path: Path) -> None:
    videos = record(tmp_path / "videos", robot("stranger", 1, ("front",)))
    sources = [DatasetConfig(path=str(folder), cache_frames=False) for folder in (*folders, videos)]
    sources[2] = sources[2].replace(actions=False)
    objective = recipe(*folders, datasets=tuple(sources), instruction_dropout=0.0).build()
    assert [robot.spec.embodiment for robot in objective.checkpoint.robots] == ["long arm", "short-arm"]
    batch, rows = batch_of(objective, videos)
    assert rows
    assert not batch.action_mask[rows].any()
    assert not any(": " in objective.checkpoint.tokenizer.decode(batch.tokens[row]) for row in rows)


def test_recordings_and_environments_decide_by_their_robot(
    run: Path, folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for folder, spec in zip(folders, (LONG_ARM, SHORT_ARM), strict=True):
        policy, dataset = load_with_dataset(str(run), folder)
        assert policy.robot_spec == dataset.robot_spec == spec
        shared = load_shared(str(run), robot=spec)
        assert shared is not None
        assert shared.robot_spec == spec
    plain = shutil.copytree(folders[1], tmp_path / "plain")
    (plain / "meta/wla_robot.json").unlink()
    policy, dataset = load_with_dataset(str(run), plain, robot="short-arm")
    assert policy.robot_spec == dataset.robot_spec == SHORT_ARM
    for words, message in (
        (["eval-offline", str(run), "--dataset", str(plain)], "is for several robots (long arm, short-arm); name one"),
        (["eval-offline", str(run), "--dataset", str(folders[0]), "--robot", "short-arm"], "are for different robots"),
        (["serve", str(run)], "is for several robots (long arm, short-arm); name one"),
        (["serve", str(run), "--robot", "short"], "has no robot 'short'; did you mean 'short-arm'?"),
        (["eval", str(run), "--tasks", "place"], "has no robot 'tabletop-gantry'; it is for long arm, short-arm"),
    ):
        out = [] if words[0] == "serve" else ["--out", str(tmp_path / "out")]
        assert main([*words, *out]) == 2
        assert message in (error := capsys.readouterr().err)
        assert error.count("\n") == 1
        assert not (tmp_path / "out").exists()
