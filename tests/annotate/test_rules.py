"""Subtasks that follow from what the gripper and the tool do."""

from __future__ import annotations

from pathlib import Path

import pytest
from motions import CARRY, DOWN, PICK, RELEASE, SIDE, UP, WAIT, gantry, write

from wla.annotate.rules import label, read_templates
from wla.data.lerobot.reader import LeRobotDataset
from wla.envs.tabletop.tasks import load_task

SMALL = """
[[task]]
name = "lift"
instruction = ['lift the (?P<what>\\w+)']
phases = [
  { name = "reach", subtask = "reach the {what}" },
  { name = "grasp", subtask = "{what} greifen, 抓", when = ["closed", "not rising"] },
]
"""


def told(root: Path, *recordings, spec=None, templates=None) -> list[list[tuple[str, int, int]]]:
    """Of each episode its (text, first, last)."""
    dataset = LeRobotDataset(write(root / "d", recordings, spec))
    found = label(dataset, read_templates(templates))
    return [[(s.text, s.first, s.last) for s in found if s.episode == e.index] for e in dataset.episodes]


def test_placing(tmp_path):
    (episode,) = told(tmp_path, ("put the red block in the bowl", [*PICK, *CARRY, *RELEASE]))
    assert episode == [
        ("reach the red block", 0, 4),
        ("grasp the red block", 5, 5),
        ("move to the bowl", 6, 12),
        ("release the red block", 13, 15),
    ]


def test_a_grasp_that_fails_is_tried_again(tmp_path):
    (episode,) = told(
        tmp_path, ("put the red block in the bowl", [*PICK, (*UP, -1), (*DOWN, -1), (*WAIT, 1), *CARRY, *RELEASE])
    )
    assert [text.split()[0] for text, *_ in episode] == ["reach", "grasp", "reach", "grasp", "move", "release"]


def test_two_blocks_in_either_order_of_words(tmp_path):
    once = [*PICK, *CARRY, *RELEASE]
    words = (
        "put the a block in the bowl, then the b block on the plate",
        "put the b block on the plate after the a block is in the bowl",
    )
    for number, instruction in enumerate(words):
        (episode,) = told(tmp_path / str(number), (instruction, [*once, *once]))
        assert [text for text, *_ in episode] == [
            "reach the a block",
            "grasp the a block",
            "move to the bowl",
            "release the a block",
            "reach the b block",
            "grasp the b block",
            "move to the plate",
            "release the b block",
        ]


def test_pressing_and_pushing(tmp_path):
    press = [*[(*SIDE, 1)] * 3, *[(*DOWN, 1)] * 2, *[(*WAIT, 1)] * 2]
    push = [*[(*SIDE, 1)] * 3, *[(*DOWN, 1)] * 3, *[(*SIDE, 1)] * 3, *[(*UP, 1)] * 2]
    episodes = told(tmp_path, ("press the button", press), ("slide the blue block to the left", push))
    assert episodes[0] == [("reach the button", 0, 2), ("press the button", 3, 6)]
    assert episodes[1] == [("reach the blue block", 0, 5), ("push the blue block to the left zone", 6, 10)]


def test_own_templates(tmp_path):
    (tmp_path / "t.toml").write_text(SMALL, encoding="utf-8")
    (episode,) = told(tmp_path, ("Lift the cup", [*PICK, (*UP, 1)]), templates=tmp_path / "t.toml")
    assert episode == [("reach the cup", 0, 4), ("cup greifen, 抓", 5, 6)]


def test_a_gripper_that_counts_the_other_way(tmp_path):
    steps = [(*move, -grip) for *move, grip in [*PICK, *CARRY, *RELEASE]]
    (episode,) = told(tmp_path, ("put the red block in the bowl", steps), spec=gantry(gripper="-1 closed .. 1 open"))
    assert ("grasp the red block", 5, 5) in episode


def test_every_phrasing_of_the_short_tasks_finds_its_template():
    templates = read_templates()
    for name in ("place", "stack", "push", "press", "drawer", "place_two"):
        phrasings = load_task(name).phrasings
        words = {"colour": "red", "a": "red", "b": "blue", "side": "left"}
        for text in (*phrasings.train, *phrasings.test):
            fit = templates.find(text.format(**words))
            assert fit is not None
            template, groups = fit
            assert template.name == name
            assert groups.items() <= {"a": "red", "b": "blue", "side": "left"}.items()


def test_labels_that_are_there_are_not_looked_at(tmp_path):
    dataset = LeRobotDataset(write(tmp_path / "d", [("press the button", [*PICK, *CARRY])]))
    before = label(dataset, read_templates())
    dataset.subtasks, dataset.subtask_texts = None, ("nonsense",)
    assert label(dataset, read_templates()) == before


def test_an_instruction_that_no_template_fits(tmp_path):
    with pytest.raises(ValueError, match=r"no template fits 'dance' \(episode 1; 1 episodes have none\); add one"):
        told(tmp_path, ("press the button", PICK), ("dance", PICK))


def test_a_robot_without_the_needed_state(tmp_path):
    spec = gantry(state_names=("x", "y"))
    with pytest.raises(
        ValueError, match=r"template 'press' asks whether the tool moves sideways .*does not have x, y and z"
    ):
        told(tmp_path, ("press the button", PICK), spec=spec)


def test_a_gripper_whose_ends_nobody_knows(tmp_path):
    with pytest.raises(ValueError, match="does not say which end is closed; write it like"):
        told(tmp_path, ("put the red block in the bowl", PICK), spec=gantry(gripper="0 .. 1"))


def test_a_dataset_of_an_unknown_robot(tmp_path):
    write(tmp_path / "d", [("press the button", PICK)])
    (tmp_path / "d/meta/wla_robot.json").unlink()
    with pytest.raises(ValueError, match="does not say which robot it is of"):
        label(LeRobotDataset(tmp_path / "d"), read_templates())


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ("[[task]]", "[[task", "damaged TOML"),
        ('name = "lift"', "nam = 1", r"task\.0\."),
        ("(?P<what>", "(?P<what", "is no regular expression"),
        ("{what} greifen", "{who} greifen", "asks for 'who'"),
        ('"closed"', '"shut"', "no condition 'shut'; there are closed, open"),
        (', when = ["closed", "not rising"]', "", "all others need one"),
        ("] },\n]", '], retry = { when = ["open"], to = "begin" } },\n]', "retry to 'begin', which is no phase"),
        ('name = "grasp"', 'name = "reach"', "two phases are called 'reach'"),
    ],
)
def test_a_damaged_template_file_is_one_line(tmp_path, before, after, why):
    assert before in SMALL
    (tmp_path / "t.toml").write_text(SMALL.replace(before, after), encoding="utf-8")
    with pytest.raises(ValueError, match=why) as caught:
        read_templates(tmp_path / "t.toml")
    assert "t.toml" in str(caught.value)


def test_a_template_file_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="no such template file"):
        read_templates(tmp_path / "t.toml")
