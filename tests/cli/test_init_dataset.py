"""`wla init DATASET`: a recipe and a robot file from a dataset that somebody else recorded."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny

from wla.cli.main import main
from wla.data.lerobot.writer import DatasetWriter
from wla.presets.recipe import load_recipe
from wla.specs import RobotSpec

FILES = ("mine.py", "mine_robot.json")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> Path:
    root = tiny.write_dataset(tmp_path_factory.mktemp("recorded") / "mine", episodes=10, subtasks=False)
    (root / "meta/wla_robot.json").unlink()
    return root


@pytest.fixture
def folder(recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the dataset `mine`, in which commands are run without a terminal."""
    shutil.copytree(recorded, tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def init(*words: str) -> int:
    return main(["init", "mine", *words, "--out", "mine.py"])


def files_below(root: Path) -> dict[Path, bytes]:
    return {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_one_option_makes_a_recipe_that_trains(folder: Path, capsys: pytest.CaptureFixture) -> None:
    before = files_below(folder / "mine")
    assert init("--action", "absolute") == 0
    assert files_below(folder / "mine") == before
    config = load_recipe("mine.py")
    (dataset,) = config.datasets
    assert (dataset.path, dataset.validation_episodes) == ("mine", "9:10")
    assert (config.model.interface.state_dim, config.model.interface.action_dim) == (tiny.STATE, tiny.ACTION)
    assert dict(config.model.interface.images) == {"front": 96, "wrist": 48}
    assert dataset.robot == RobotSpec.load(folder / "mine_robot.json")
    dataset.open().require_robot()
    printed = capsys.readouterr().out
    assert "9 .. 9 are held out" in printed
    assert "unknown:  action.units, action.frame, action.gripper" in printed


def test_what_is_stated_is_in_the_robot_file_and_what_is_not_is_unknown(folder: Path) -> None:
    answers = ["--units", "rad", "--frame", "joint", "--gripper", "0 closed .. 1 open", "--name", "arm"]
    assert init("--action", "delta", "absolute", *answers) == 0
    spec = RobotSpec.load(folder / "mine_robot.json")
    assert spec.embodiment == "arm"
    assert spec.action.kinds == ("delta", "absolute")
    assert (spec.action.frame, spec.observation.state_frame, spec.action.limits) == ("joint", "joint", "data")
    assert spec.unknown == ("observation.state_units",)


def test_cameras_are_chosen(folder: Path) -> None:
    choice = ["--primary", "wrist", "--cameras", "wrist", "--image-fit", "crop", "--chunk", "3"]
    assert init("--action", "absolute", *choice) == 0
    interface = load_recipe("mine.py").model.interface
    assert (dict(interface.images), interface.primary) == ({"wrist": 96}, "wrist")
    assert (interface.image_fit, interface.chunk) == ("crop", 3)


def test_a_dataset_that_states_its_robot_needs_no_answer(folder: Path, capsys: pytest.CaptureFixture) -> None:
    tiny.robot_spec().save(folder / "mine/meta/wla_robot.json")
    assert init() == 0
    assert not (folder / "mine_robot.json").exists()
    assert load_recipe("mine.py").datasets[0].open().require_robot() == tiny.robot_spec()
    (folder / "mine.py").unlink()
    assert init("--action", "absolute") == 2
    assert (
        "states its robot, whose actions are dx delta, gripper absolute; leave --action out" in capsys.readouterr().err
    )


def test_the_published_size_is_a_recipe_too(folder: Path) -> None:
    assert init("--action", "absolute", "--size", "wla0") == 0
    config = load_recipe("mine.py")
    assert list(config.model.interface.images) == ["history front", "front", "wrist"]


def test_the_small_size_is_a_recipe_that_builds(folder: Path) -> None:
    assert init("--action", "absolute", "--size", "small", "--cameras", "wrist", "front", "--chunk", "2") == 0
    config = load_recipe("mine.py")
    assert dict(config.model.interface.images) == {"wrist": 128, "front": 128}
    assert (config.model.interface.primary, config.model.interface.chunk) == ("wrist", 2)
    assert config.build().checkpoint.prompter.predicts_subtasks is False  # its dataset has no labels


@pytest.mark.parametrize(("lag", "relative"), [(0.01, True), (5.0, False)])
def test_targets_near_their_state_are_learned_as_offsets(tmp_path, monkeypatch, lag, relative) -> None:
    """Names alone do not tell that an action is a target for the state: the numbers have to agree."""
    monkeypatch.chdir(tmp_path)
    spec = tiny.robot_spec()
    names = {"names": ("x", "gripper"), "kinds": ("absolute", "absolute")}
    with DatasetWriter(tmp_path / "mine", spec.replace(action=spec.action.replace(**names))) as writer:
        for _ in range(3):
            for step in range(12):
                seen = tiny.observation(step)
                state = np.array([step, 0, 0], np.float32)
                writer.add_frame(seen.images, state, np.array([step + lag, 0.05], np.float32))
            writer.end_episode("go", keep=True)
    (tmp_path / "mine/meta/wla_robot.json").unlink()
    assert init("--action", "absolute", "--chunk", "3") == 0
    representation = load_recipe("mine.py").action_representation
    assert (representation is not None and representation.relative is not None) == relative


def remove_instruction(folder: Path) -> None:
    path = folder / "mine/meta/tasks.parquet"
    table = pq.read_table(path)
    blank = pa.array([" "] * len(table))
    pq.write_table(table.set_column(table.column_names.index("task"), "task", blank), path)


def keep_one_episode(folder: Path) -> None:
    shutil.rmtree(folder / "mine")
    tiny.write_dataset(folder / "mine", episodes=1)
    (folder / "mine/meta/wla_robot.json").unlink()


def test_mistakes_are_one_line_and_leave_nothing_behind(folder: Path, capsys: pytest.CaptureFixture) -> None:
    for words, message in [
        ([], "--action is missing: is an action a target (absolute) or a change (delta)?"),
        (["--action", "absolut"], "did you mean 'absolute'?"),
        (["--action", "absolute", "--primary", "top"], "has no camera 'top'; there are front, wrist"),
        (["--action", "absolute", "delta", "delta"], "3 kinds for 2 dimensions"),
        (["--action", "absolute", "--state", "observation.joints"], "feature 'observation.joints' is missing"),
        (["--action", "absolute", "--env", "CarRacing-v3"], "name one thing to look at"),
    ]:
        assert init(*words) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
        assert not any((folder / name).exists() for name in FILES)


@pytest.mark.parametrize(
    ("damage", "message"),
    [(remove_instruction, "episode 0 has no instruction"), (keep_one_episode, "has a single episode")],
)
def test_datasets_that_cannot_be_learned_from_are_one_line(folder, capsys, damage, message) -> None:
    damage(folder)
    assert init("--action", "delta") == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not any((folder / name).exists() for name in FILES)


def test_nothing_is_overwritten(folder: Path, capsys: pytest.CaptureFixture) -> None:
    (folder / "mine_robot.json").write_text("mine")
    assert init("--action", "absolute") == 2
    assert "mine_robot.json is there already" in capsys.readouterr().err
    assert not (folder / "mine.py").exists()


def test_answers_are_asked_for_on_a_terminal(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["delta", "wrist", "tool", "m rad", "1 open"])
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("rich.prompt.PromptBase.get_input", lambda *args, **kwargs: next(answers))
    assert init() == 0
    spec = RobotSpec.load(folder / "mine_robot.json")
    assert (spec.action.kinds, spec.action.frame, spec.action.units) == (("delta",) * 2, "tool", ("m", "rad"))
    assert (spec.observation.primary_camera, spec.action.gripper) == ("wrist", "1 open")


def test_datasets_of_several_robots_make_one_recipe(folder: Path, capsys: pytest.CaptureFixture) -> None:
    tiny.robot_spec().save(folder / "mine/meta/wla_robot.json")
    record_other(folder / "other", "other-arm")
    assert main(["init", "mine", "other", "--out", "both.py"]) == 0
    assert "robots:   one policy for all, identified by name" in capsys.readouterr().out
    config = load_recipe("both.py")
    assert [(each.path, each.validation_episodes) for each in config.datasets] == [("mine", "9:10"), ("other", "2:3")]
    interface = config.model.interface
    assert (interface.state_dim, interface.action_dim) == (tiny.STATE, 4)  # of the widest
    assert dict(interface.images) == {"front": 96, "wrist": 48, "side": 48}  # primary cameras share a place
    robots = [each.open().require_robot().embodiment for each in config.datasets]
    assert robots == [tiny.robot_spec().embodiment, "other-arm"]


def test_datasets_without_robot_files_get_one_each(folder: Path) -> None:
    shutil.copytree(folder / "mine", folder / "more")
    assert main(["init", "mine", "more", "--action", "absolute", "--name", "arm", "--out", "both.py"]) == 0
    config = load_recipe("both.py")
    assert [each.robot.embodiment for each in config.datasets] == ["arm", "arm"]
    assert [each.name for each in sorted(folder.glob("both_robot*"))] == ["both_robot_1.json", "both_robot_2.json"]
    assert (config.model.interface.state_dim, config.model.interface.action_dim) == (tiny.STATE, tiny.ACTION)


def test_two_robots_of_one_name_are_one_line(folder: Path, capsys: pytest.CaptureFixture) -> None:
    tiny.robot_spec().save(folder / "mine/meta/wla_robot.json")
    record_other(folder / "other", tiny.robot_spec().embodiment)
    assert main(["init", "mine", "other", "--out", "both.py"]) == 2
    assert "name them apart (`wla data robot DATASET --name`)" in (error := capsys.readouterr().err)
    assert error.count("\n") == 1
    assert not (folder / "both.py").exists()


def record_other(root: Path, name: str) -> None:
    """A dataset of a robot with four actions, one state and two other cameras."""
    spec, dims = tiny.robot_spec(), range(4)
    action = spec.action.replace(
        names=tuple(f"a{dim}" for dim in dims),
        units=("m",) * 4,
        kinds=("delta",) * 4,
        low=(-1.0,) * 4,
        high=(1.0,) * 4,
    )
    observation = spec.observation.replace(
        cameras={"top": (32, 32), "side": (16, 16)}, state_names=("x",), state_units=("m",)
    )
    with DatasetWriter(root, spec.replace(embodiment=name, action=action, observation=observation)) as writer:
        for _ in range(3):
            for step in range(12):
                images = {name: np.full((*size, 3), step, np.uint8) for name, size in observation.cameras.items()}
                writer.add_frame(images, np.array([step], np.float32), np.full(4, step / 12, np.float32))
            writer.end_episode("go", keep=True)
