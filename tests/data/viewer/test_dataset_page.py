"""Pages about datasets, without a browser: clips of all cameras, curves, foreign texts, embedded files."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from motions import CARRY, PICK, write
from toy_robot import robot

from wla.cli.main import main
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.lerobot.writer import DatasetWriter
from wla.data.video.codec import decode, probe
from wla.data.viewer.page import dataset_key, write_dataset_page

HOSTILE = "</script><img src=x onerror=alert(1)> \u2028 '\"&"


def page_data(path: Path) -> dict[str, Any]:
    text = path.read_text("utf-8")
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    return json.loads(found)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> LeRobotDataset:
    """Two cameras of different sizes; three episodes whose every frame has its own level."""
    root = tmp_path_factory.mktemp("data") / "d"
    spec = robot("two_eyes", state_dim=2, limits=(-1.0, 1.0), size=(16, 16))
    spec = spec.replace(observation=spec.observation.replace(cameras={"front": (16, 16), "wrist": (24, 48)}))
    with DatasetWriter(root, spec) as writer:
        for episode in range(3):
            for frame in range(20):
                level = 40 + 10 * frame + episode
                images = {
                    "front": np.full((16, 16, 3), level, np.uint8),
                    "wrist": np.full((24, 48, 3), 250 - level, np.uint8),
                }
                writer.add_frame(images, np.float32([frame, -frame]), np.float32([frame / 20, 0.5]), "")
            writer.end_episode(f"walk {HOSTILE} {episode}", keep=True, success=episode == 1)
    return LeRobotDataset(root)


def test_clips_have_exactly_the_frames_of_an_episode_for_every_camera(dataset, tmp_path):
    assert write_dataset_page(tmp_path / "p.html", dataset, {}, episodes=10) == 3
    tree = page_data(tmp_path / "p.html")
    assert tree["cameras"] == ["front", "wrist"]
    front, wrist = (tmp_path / url for url in tree["episodes"][1]["videos"])
    levels = [frame.mean() for frame in decode(front)]
    assert levels == pytest.approx([41 + 10 * frame for frame in range(20)], abs=4)
    assert [frame.mean() for frame in decode(wrist)] == pytest.approx([209 - 10 * frame for frame in range(20)], abs=4)
    assert (probe(front).height, probe(front).width) == (320, 320)
    assert (probe(wrist).height, probe(wrist).width) == (144, 288)


def test_nothing_is_written_into_the_dataset(dataset, tmp_path):
    before = sorted(dataset.root.rglob("*"))
    write_dataset_page(tmp_path / "p.html", dataset, {}, episodes=10)
    assert sorted(dataset.root.rglob("*")) == before


def test_state_and_action_are_curves_with_names_and_units(dataset, tmp_path):
    write_dataset_page(tmp_path / "p.html", dataset, {}, episodes=1)
    state, action = page_data(tmp_path / "p.html")["episodes"][0]["curves"]
    names = dataset.robot_spec.observation.state_names
    assert [(curve["name"], curve["low"], curve["high"]) for curve in state["curves"]] == [
        (names[0], 0, 19), (names[1], -19, 0)
    ]  # fmt: skip
    assert {curve["style"] for curve in action["curves"]} == {"step"}


def test_foreign_texts_stay_texts(dataset, tmp_path):
    write_dataset_page(tmp_path / "p.html", dataset, {0: [(0, 4, HOSTILE)]}, episodes=2)
    assert "<img" not in (tmp_path / "p.html").read_text("utf-8")
    first = page_data(tmp_path / "p.html")["episodes"][0]
    assert first["instruction"] == f"walk {HOSTILE} 0"
    assert first["subtasks"] == [[0, 4, HOSTILE]]
    assert first["success"] is False


def test_some_episodes_are_shown_evenly_spaced(dataset, tmp_path):
    assert write_dataset_page(tmp_path / "p.html", dataset, {}, episodes=2) == 2
    episodes = page_data(tmp_path / "p.html")["episodes"]
    assert [episode["videos"] is not None for episode in episodes] == [True, False, True]
    assert len(list((tmp_path / "p_files").iterdir())) == 4


def test_a_single_file_has_nothing_beside_it(dataset, tmp_path):
    write_dataset_page(tmp_path / "new" / "p.html", dataset, {}, episodes=2, single_file=True)
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["p.html"]
    videos = page_data(tmp_path / "new" / "p.html")["episodes"][0]["videos"]
    assert [video.partition(",")[0] for video in videos] == ["data:video/mp4;base64"] * 2


def test_drafts_of_a_copy_are_its_own_and_those_of_other_episodes_are_not(dataset, tmp_path):
    longer = write(tmp_path / "a", [("press", PICK)]), write(tmp_path / "b", [("press", [*PICK, *CARRY])])
    assert len({dataset_key(dataset), *(dataset_key(LeRobotDataset(root)) for root in longer)}) == 3
    assert dataset_key(LeRobotDataset(dataset.root)) == dataset_key(dataset)


@pytest.mark.parametrize(("out", "page"), [("view.html", "view.html"), ("folder", "folder/index.html")])
def test_the_command_writes_a_page_or_a_folder(dataset, tmp_path, out, page, capsys):
    assert main(["data", "view", str(dataset.root), "--out", str(tmp_path / out), "--episodes", "1"]) == 0
    assert (tmp_path / page).is_file()
    assert f"{tmp_path / page}: 1 of 3 episodes" in capsys.readouterr().out


def test_a_folder_that_cannot_be_written_is_one_line(dataset, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["data", "view", str(dataset.root), "--out", str(tmp_path / "file" / "p.html")]) == 2
    error = capsys.readouterr().err
    assert "cannot write" in error
    assert error.count("\n") == 1


def test_a_dataset_of_another_program_needs_no_robot_file(dataset, tmp_path):
    root = shutil.copytree(dataset.root, tmp_path / "theirs")
    (root / "meta/wla_robot.json").unlink()
    info = json.loads((root / "meta/info.json").read_text())
    for feature in info["features"].values():
        feature["names"] = None
    (root / "meta/info.json").write_text(json.dumps(info))
    assert write_dataset_page(tmp_path / "p.html", LeRobotDataset(root), {}, episodes=1) == 1
    state, action = page_data(tmp_path / "p.html")["episodes"][0]["curves"]
    assert [len(state["curves"]), len(action["curves"])] == [2, 2]
